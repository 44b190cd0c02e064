"use strict";
// The networks of a team in JavaScript: dense layers, layer norm and a GRU, as marlx/nets/agents.py.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const relu = (x) => Math.max(0, x);

  // Returns weights of one parameter set: {kernel: [in][out] flat, bias, inputs, outputs}.
  function dense(layers, name, set) {
    const kernel = layers[`${name}/kernel`];
    const bias = layers[`${name}/bias`];
    const [, inputs, outputs] = kernel.shape;
    return { kernel: kernel.at(set), bias: bias ? bias.at(set) : null, inputs, outputs };
  }

  function apply(layer, x) {
    const out = new Float64Array(layer.outputs);
    if (layer.bias) out.set(layer.bias);
    for (let k = 0; k < layer.inputs; k++) {
      if (x[k] === 0) continue;
      const row = k * layer.outputs;
      for (let o = 0; o < layer.outputs; o++) out[o] += x[k] * layer.kernel[row + o];
    }
    return out;
  }

  marlx.dense = apply;

  function normalised(layers, set, x) {
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + b * b, 0) / x.length - mean * mean;
    const [scale, bias] = [layers["norm/scale"].at(set), layers["norm/bias"].at(set)];
    return x.map((v, k) => (v - mean) / Math.sqrt(Math.max(0, variance) + 1e-6) * scale[k] + bias[k]);
  }

  function gru(parts, h, x) {
    const gate = (input, hidden) => {
      const [a, b] = [apply(parts[input], x), apply(parts[hidden], h)];
      return a.map((v, k) => sigmoid(v + b[k]));
    };
    const r = gate("ir", "hr");
    const z = gate("iz", "hz");
    const candidate = apply(parts.hn, h);
    const n = apply(parts.in, x).map((v, k) => Math.tanh(v + r[k] * candidate[k]));
    return n.map((v, k) => (1 - z[k]) * v + z[k] * h[k]);
  }

  // described: see marlx/viewer/network.py. Returns {memory(), act(memory, obs, legal, random)}:
  // `random` gives numbers in [0, 1) where actions are drawn, null where they are greedy.
  marlx.team = function (described, N, A) {
    const layers = marlx.decodeAll(described.layers);
    const count = layers["encoder/kernel"].shape[0];
    const sets = Array.from({ length: count }, (_, g) => {
      const one = { encoder: dense(layers, "encoder", g), readout: dense(layers, "readout", g) };
      if (described.recurrent) {
        one.cell = {};
        for (const name of ["ir", "iz", "in", "hr", "hz", "hn"]) one.cell[name] = dense(layers, `cell/${name}`, g);
      } else one.dense = dense(layers, "dense", g);
      return one;
    });
    const hidden = sets[0].encoder.outputs;
    const pooling = described.pooling ? marlx.pooling(described.pooling, A, described.scale) : null;
    const own = (i, obs) => obs.subarray((i * obs.length) / N, ((i + 1) * obs.length) / N);

    function inputs(i, obs, memory) {
      const last = memory.last;
      const x = Array.from(own(i, obs), (v) => v / described.scale);
      if (pooling) x.push(...pooling.read(memory.pools[i]));
      if (described.last_action) {
        for (let a = 0; a < A; a++) x.push(last[i] === a ? 1 : 0);
      }
      if (described.agent_id) for (let j = 0; j < N; j++) x.push(j === i ? 1 : 0);
      return x;
    }

    function forward(i, h, x) {
      const g = described.sets[i];
      const one = sets[g];
      let encoded = apply(one.encoder, x);
      if (described.layer_norm) encoded = normalised(layers, g, encoded);
      encoded = encoded.map(relu);
      const features = described.recurrent ? gru(one.cell, h, encoded) : apply(one.dense, encoded).map(relu);
      return { outputs: apply(one.readout, features).slice(0, A), memory: described.recurrent ? features : h };
    }

    function values(outputs, legal) {
      if (described.kind === "q") return Float64Array.from(outputs);
      const most = Math.max(...outputs.filter((_, a) => legal[a]));
      const parts = outputs.map((v, a) => (legal[a] ? Math.exp(v - most) : 0));
      const total = parts.reduce((a, b) => a + b, 0);
      return parts.map((v) => v / total);
    }

    function chosen(shown, legal, random) {
      if (random && described.kind === "probability") {
        let left = random();
        for (let a = 0; a < A; a++) {
          left -= shown[a];
          if (legal[a] && left < 0) return a;
        }
      }
      let best = -1;
      for (let a = 0; a < A; a++) if (legal[a] && (best < 0 || shown[a] > shown[best])) best = a;
      return best;
    }

    return {
      kind: described.kind,
      memory: () => ({ hidden: Array.from({ length: N }, () => new Float64Array(hidden)), last: new Array(N).fill(-1),
        pools: pooling ? Array.from({ length: N }, pooling.memory) : [] }),
      act(memory, obs, legal, random) {
        const action = [];
        const shown = new Float64Array(N * A);
        const after = { hidden: [], last: null, pools: [] };
        for (let i = 0; i < N; i++) {
          const mask = legal.subarray(i * A, (i + 1) * A);
          const { outputs, memory: next } = forward(i, memory.hidden[i], inputs(i, obs, memory));
          const mine = values(outputs, mask);
          shown.set(mine, i * A);
          after.hidden.push(next);
          if (pooling) after.pools.push(pooling.push(memory.pools[i], own(i, obs), memory.last[i]));
          action.push(chosen(mine, mask, random));
        }
        return { action, shown, memory: after };
      },
      // The memory after a step: a network that sees its previous action sees the one that was taken.
      took: (memory, action) => ({ ...memory, last: Array.from(action) }),
    };
  };

  // A generator of numbers in [0, 1) from a seed (mulberry32).
  marlx.random = function (seed) {
    let a = seed >>> 0;
    return () => {
      a = (a + 0x6d2b79f5) >>> 0;
      let t = Math.imul(a ^ (a >>> 15), a | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  };
})();
