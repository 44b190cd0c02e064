"use strict";
// Attention pooling of an agent's trajectory, one step at a time: marlx/nets/set_attention.py, and
// the memory of marlx/algos/agent_modelling/trajectory_encoder.py.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const relu = (v) => Math.max(0, v);

  // described: `pooling` of marlx/viewer/network.py; A actions, observations are divided by `scale`.
  marlx.pooling = function (described, A, scale) {
    const layers = marlx.decodeAll(described.layers);
    const { heads, seeds } = described;
    const mean = marlx.decode(described.mean).values;
    const deviation = marlx.decode(described.deviation).values;
    const dense = (name) => {
      const kernel = layers[`${name}/kernel`];
      const [inputs, outputs] = kernel.shape;
      return { kernel: kernel.values, bias: layers[`${name}/bias`].values, inputs, outputs };
    };
    const [embed, refine, both, mix, out] = ["embed", "refine", "scores_and_values", "mix", "out"].map(dense);
    const width = embed.outputs;
    const depth = width / heads;
    const size = out.outputs;
    const wide = described.inputs.length + A;

    function place(position) {
      const at = Math.min(position, described.positions - 1);
      const half = Math.ceil(width / 2);
      const rate = Array.from({ length: half }, (_, k) => Math.exp((-Math.log(10000) * 2 * k) / width));
      return [...rate.map((r) => Math.sin(at * r)), ...rate.map((r) => Math.cos(at * r))].slice(0, width);
    }

    // The step's observation (or its change) and the action before it.
    function token(memory, obs, action) {
      const own = described.inputs.map((k) => obs[k]);
      const seen = described.change ? own.map((v, k) => (memory.time ? v - memory.obs[k] : 0)) : own;
      const last = Array.from({ length: A }, (_, a) => (a === action ? 1 : 0));
      return { own, numbers: [...seen.map((v) => v / scale), ...last] };
    }

    function pushed(pool, scores, values) {
      const [top, mass, total] = [pool.top.slice(), pool.mass.slice(), pool.total.slice()];
      scores.forEach((score, k) => {
        top[k] = Math.max(pool.top[k], score);
        const [keep, weight] = [Math.exp(pool.top[k] - top[k]), Math.exp(score - top[k])];
        mass[k] = keep * mass[k] + weight;
        for (let d = 0; d < depth; d++) {
          total[k * depth + d] = keep * total[k * depth + d] + weight * values[(k % heads) * depth + d];
        }
      });
      return { top, mass, total };
    }

    return {
      memory: () => ({
        top: new Float64Array(seeds * heads).fill(-1e30), mass: new Float64Array(seeds * heads),
        total: new Float64Array(seeds * width), token: new Array(wide).fill(0),
        embedding: new Float64Array(size), obs: null, time: 0,
      }),
      // What the policy reads.
      read(memory) {
        if (!described.standardised || memory.embedding.every((v) => v === 0)) return memory.embedding;
        const most = described.largest;
        return memory.embedding.map((v, k) => Math.min(most, Math.max(-most, (v - mean[k]) / deviation[k])));
      },
      // The memory after a step: what the agent saw, and its action of the step before (-1 for none).
      push(memory, obs, action) {
        const { own, numbers } = token(memory, obs, action);
        const at = place(memory.time);
        let x = marlx.dense(embed, [...numbers, ...memory.token]).map((v, k) => relu(v + at[k]));
        const more = marlx.dense(refine, x);
        x = x.map((v, k) => v + relu(more[k]));
        const made = marlx.dense(both, x);
        const pool = pushed(memory, made.subarray(0, seeds * heads), made.subarray(seeds * heads));
        const average = pool.total.map((v, k) => v / Math.max(pool.mass[Math.floor(k / depth)], 1e-30));
        const found = marlx.dense(out, marlx.dense(mix, average).map(relu));
        const length = Math.max(Math.hypot(...found), 1e-8);
        return { ...pool, token: numbers, embedding: found.map((v) => v / length), obs: own, time: memory.time + 1 };
      },
    };
  };
})();
