"use strict";
// A game at which a person holds a seat: in this page, or at a server on this computer.
// Both: {start(seat, policy, drawn) -> view, act(action) -> view}, as promises. A view is
// {frame, legal, shown, t, total, ended, last, picture}; `last` are everyone's last actions.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});

  // data: {board, networks, starts, drawn}; see marlx/viewer/play.py.
  marlx.localTable = function (data) {
    const board = data.board;
    const agents = board.agents.length;
    const rules = marlx.rules[board.kind](board.facts, board.agents, board.horizon);
    const starts = data.starts ? marlx.decodeAll(data.starts) : {};
    const count = data.starts ? Object.values(data.starts)[0].shape[0] : 1;
    const teams = data.networks.map((one) => marlx.team(one.network, agents, rules.actions));
    let games = 0;
    let now = null;

    function look() {
      const obs = rules.observe(now.state);
      const legal = rules.legal(now.state);
      const random = now.drawn ? now.random : null;
      const wants = now.team.act(now.memory, obs, legal, random);
      Object.assign(now, { obs, legal, wants });
      return view();
    }

    function view() {
      return {
        frame: rules.frame(now.state), legal: now.legal, shown: { [now.team.kind]: now.wants.shown },
        t: now.state.time, total: now.total, ended: now.ended, last: now.last,
      };
    }

    return {
      async start(seat, policy, drawn) {
        const team = teams[policy];
        const start = games % count;
        const random = marlx.random(7919 * (games + 1));
        games += 1;
        now = {
          seat, policy, team, drawn, random, state: rules.start(starts, start), memory: team.memory(), total: 0,
          ended: false, last: null, record: { start, observation: [], legal: [], action: [] },
        };
        return look();
      },
      async act(action) {
        if (now.ended) return view();
        const everyone = now.wants.action.slice();
        everyone[now.seat] = action;
        const width = now.obs.length / agents;
        now.record.observation.push(Array.from(now.obs.subarray(now.seat * width, (now.seat + 1) * width)));
        now.record.legal.push(Array.from(now.legal.subarray(now.seat * rules.actions, (now.seat + 1) * rules.actions)));
        now.record.action.push(everyone);
        const { state, team, ended } = rules.step(now.state, everyone);
        now.memory = now.team.took(now.wants.memory, everyone);
        Object.assign(now, { state, ended, total: now.total + team, last: everyone });
        return look();
      },
      // What was played, as marlx/viewer/records.py reads it.
      record: () => ({
        format: 1, environment: board.id, run: data.run, policy_seed: data.networks[now.policy].seed,
        seat: now.seat, drawn: now.drawn, return: now.total, ended: now.ended, ...now.record,
      }),
    };
  };

  // A server that steps the environment and keeps the record itself.
  marlx.remoteTable = function (data) {
    const board = data.board;
    let game = null;

    async function ask(what, content) {
      const answer = await fetch(what, { method: "POST", body: JSON.stringify(content) });
      const said = await answer.json();
      if (said.error) throw new Error(said.error);
      game = said.game;
      const frame = {};
      for (const name of Object.keys(said.frame)) frame[name] = marlx.decode(said.frame[name]).values;
      const shown = {};
      for (const name of Object.keys(said.shown)) shown[name] = marlx.decode(said.shown[name]).values;
      return { ...said, frame, shown, legal: marlx.decode(said.legal).values };
    }

    return {
      start: (seat, policy, drawn) => ask("start", { seat, policy, drawn }),
      act: (action) => ask("act", { game, action }),
      record: null,
      board,
    };
  };
})();
