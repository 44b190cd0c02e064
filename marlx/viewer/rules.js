"use strict";
// The rules of level-based foraging and of matrix games, in single precision as JAX computes them.
// A tested copy of marlx/envs/foraging/arrays.py and marlx/envs/matrix/game.py. Interface:
// {legal(s), observe(s), step(s, actions), frame(s), start(fields, k)}; states are never changed.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const rules = (marlx.rules = {});
  const single = Math.fround;
  const LOAD = 5;
  const NO_SIDE = 4;

  rules.foraging = function (facts, agents, horizon) {
    const [rows, cols] = facts.size;
    const N = facts.agents;
    const { food: F, view, normalize, penalty, observation, levels } = facts.rules;

    function side(s, f, i) {
      if (s.food_level[f] <= 0) return NO_SIDE;
      const down = s.food_pos[2 * f] - s.agent_pos[2 * i];
      const right = s.food_pos[2 * f + 1] - s.agent_pos[2 * i + 1];
      if (right === 0) return down === -1 ? 0 : down === 1 ? 1 : NO_SIDE;
      if (down === 0) return right === -1 ? 2 : right === 1 ? 3 : NO_SIDE;
      return NO_SIDE;
    }

    // The foods on the four sides of each agent, bool [N][4].
    function beside(s) {
      return Array.from({ length: N }, (_, i) => {
        const there = [false, false, false, false];
        for (let f = 0; f < F; f++) {
          const k = side(s, f, i);
          if (k < NO_SIDE) there[k] = true;
        }
        return there;
      });
    }

    function moves(s, i, there) {
      const [row, col] = [s.agent_pos[2 * i], s.agent_pos[2 * i + 1]];
      return [
        row > 0 && !there[0], row < rows - 1 && !there[1],
        col > 0 && !there[2], col < cols - 1 && !there[3],
      ];
    }

    function legal(s) {
      const out = new Uint8Array(N * 6);
      beside(s).forEach((there, i) => {
        out[6 * i] = 1;
        moves(s, i, there).forEach((may, k) => { out[6 * i + 1 + k] = may ? 1 : 0; });
        out[6 * i + LOAD] = there.some(Boolean) ? 1 : 0;
      });
      return out;
    }

    // Rewards [N] and the foods eaten; foods are resolved in the order of the agents that face them.
    function load(s, actions) {
      const reach = Array.from({ length: F }, (_, f) =>
        Array.from({ length: N }, (_, i) => actions[i] === LOAD && side(s, f, i) < NO_SIDE));
      const nearest = Array.from({ length: N }, (_, i) =>
        Math.min(...Array.from({ length: F }, (_, f) => side(s, f, i))));
      const faces = reach.map((row, f) => row.map((there, i) => there && side(s, f, i) === nearest[i]));
      const reward = new Float32Array(N);
      const eaten = new Array(F).fill(false);
      while (reach.some((row) => row.some(Boolean))) {
        const first = Array.from({ length: N }, (_, i) => i).find((i) => reach.some((row) => row[i]));
        const joins = reach.map((row, f) => {
          const called = faces[f][first];
          const alone = row.some(Boolean) && !row.some((there, i) => there && reach.filter((r) => r[i]).length > 1);
          return row.map((there) => there && (called || alone));
        });
        joins.forEach((row, f) => {
          if (!row.some(Boolean)) return;
          let total = 0;
          row.forEach((there, i) => { if (there) total += s.agent_level[i]; });
          const lifted = total >= s.food_level[f];
          let share = single(s.food_level[f]);
          if (normalize) share = single(share / single(Math.max(total * s.food_spawned[0], 1)));
          row.forEach((there, i) => {
            if (there) reward[i] = single(reward[i] + (lifted ? single(s.agent_level[i] * share) : single(-penalty)));
          });
          if (lifted) eaten[f] = true;
        });
        const joined = Array.from({ length: N }, (_, i) => joins.some((row) => row[i]));
        reach.forEach((row) => joined.forEach((did, i) => { if (did) row[i] = false; }));
      }
      return { reward, eaten };
    }

    function step(s, actions) {
      const { reward, eaten } = load(s, actions);
      const there = beside(s);
      const wanted = Array.from({ length: N }, (_, i) => {
        const may = moves(s, i, there[i]);
        const a = actions[i];
        const go = (k) => (a === k + 1 && may[k] ? 1 : 0);
        return [s.agent_pos[2 * i] + go(1) - go(0), s.agent_pos[2 * i + 1] + go(3) - go(2)];
      });
      const agent_pos = Int32Array.from(s.agent_pos);
      wanted.forEach(([row, col], i) => {
        if (wanted.filter(([r, c]) => r === row && c === col).length > 1) return;
        agent_pos[2 * i] = row;
        agent_pos[2 * i + 1] = col;
      });
      const food_pos = new Int32Array(2 * F).fill(-1);
      const food_level = new Int32Array(F);
      let left = 0;
      for (let f = 0; f < F; f++) {
        if (s.food_level[f] <= 0 || eaten[f]) continue;
        food_pos[2 * left] = s.food_pos[2 * f];
        food_pos[2 * left + 1] = s.food_pos[2 * f + 1];
        food_level[left++] = s.food_level[f];
      }
      const state = { ...s, time: s.time + 1, agent_pos, food_pos, food_level };
      const team = reward.reduce((a, b) => single(a + b), 0);
      return { state, reward, team, ended: left === 0 || state.time >= horizon };
    }

    function observe(s) {
      return observation === "grid" ? grid(s) : lists(s);
    }

    function lists(s) {
      const shown = levels ? 3 : 2;
      const width = 3 * F + shown * N;
      const out = new Float32Array(N * width);
      for (let i = 0; i < N; i++) {
        const [row, col] = [s.agent_pos[2 * i], s.agent_pos[2 * i + 1]];
        const [top, left] = [Math.max(row - view, 0), Math.max(col - view, 0)];
        let at = i * width;
        const put = (numbers) => numbers.forEach((x) => { out[at++] = x; });
        let foods = 0;
        for (let f = 0; f < F; f++) {
          const near = Math.abs(s.food_pos[2 * f] - row) <= view && Math.abs(s.food_pos[2 * f + 1] - col) <= view;
          if (s.food_level[f] <= 0 || !near) continue;
          put([s.food_pos[2 * f] - top, s.food_pos[2 * f + 1] - left, s.food_level[f]]);
          foods += 1;
        }
        for (; foods < F; foods++) put([-1, -1, 0]);
        put([row - top, col - left, s.agent_level[i]].slice(0, shown));
        let others = 1;
        for (let j = 0; j < N; j++) {
          const [r, c] = [s.agent_pos[2 * j] - top, s.agent_pos[2 * j + 1] - left];
          if (j === i || r < 0 || r > 2 * view || c < 0 || c > 2 * view) continue;
          put([r, c, s.agent_level[j]].slice(0, shown));
          others += 1;
        }
        for (; others < N; others++) put([-1, -1, 0].slice(0, shown));
      }
      return out;
    }

    function grid(s) {
      const wide = 2 * view + 1;
      const layer = wide * wide;
      const out = new Float32Array(N * 3 * layer);
      for (let i = 0; i < N; i++) {
        for (let k = 0; k < layer; k++) {
          const row = s.agent_pos[2 * i] - view + Math.floor(k / wide);
          const col = s.agent_pos[2 * i + 1] - view + (k % wide);
          let [agent, food] = [0, 0];
          for (let j = 0; j < N; j++) {
            if (s.agent_pos[2 * j] === row && s.agent_pos[2 * j + 1] === col) agent = levels ? s.agent_level[j] : 1;
          }
          for (let f = 0; f < F; f++) {
            if (s.food_level[f] > 0 && s.food_pos[2 * f] === row && s.food_pos[2 * f + 1] === col) food = s.food_level[f];
          }
          const inside = row >= 0 && row < rows && col >= 0 && col < cols;
          out[i * 3 * layer + k] = agent;
          out[i * 3 * layer + layer + k] = food;
          out[i * 3 * layer + 2 * layer + k] = inside && !agent && !food ? 1 : 0;
        }
      }
      return out;
    }

    return {
      agents: N, actions: 6, legal, observe, step,
      frame: (s) => s,
      start(fields, k) {
        const s = { time: 0 };
        for (const name of Object.keys(fields)) s[name] = Int32Array.from(fields[name].at(k));
        return s;
      },
    };
  };

  rules.matrix = function (facts, agents, horizon) {
    const N = facts.agents;
    const sizes = facts.sizes;
    const A = Math.max(...sizes);
    const stages = facts.payoff.length;
    const { observation, end } = facts.rules;

    function observe(s) {
      let seen;
      if (observation === "none") seen = new Array(N).fill(0);
      else if (observation === "stage") seen = Array.from({ length: stages }, (_, k) => (k === s.stage[0] ? 1 : 0));
      else seen = sizes.flatMap((n, i) => Array.from({ length: n }, (_, a) => (a === s.last_action[i] ? 1 : 0)));
      return Float32Array.from(Array.from({ length: N }, () => seen).flat());
    }

    function step(s, actions) {
      const chosen = sizes.map((n, i) => Math.max(0, Math.min(n - 1, actions[i])));
      const cell = chosen.reduce((part, a) => part[a], facts.payoff[s.stage[0]]);
      const next = chosen.reduce((part, a) => part[a], facts.next[s.stage[0]]);
      const state = {
        time: s.time + 1, stage: [next < 0 ? s.stage[0] : next], played: [s.stage[0]], last_action: chosen,
      };
      const reward = Float32Array.from(cell);
      const team = single(reward.reduce((a, b) => single(a + b), 0) / N);
      const over = next < 0 || (end === "terminated" && state.time >= facts.rules.horizon);
      return { state, reward, team, ended: over || state.time >= horizon };
    }

    return {
      agents: N, actions: A, observe, step,
      legal: () => Uint8Array.from({ length: N * A }, (_, k) => (k % A < sizes[Math.floor(k / A)] ? 1 : 0)),
      frame: (s) => s,
      start: () => ({ time: 0, stage: [0], played: [0], last_action: new Array(N).fill(-1) }),
    };
  };
})();
