"use strict";
// One card for each agent: its action, the values of its actions, subgoal, embedding.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const { element, css, ink, teamColor, number } = marlx;
  const MOST_ROWS = 8;

  marlx.colorOf = function (board, seat) {
    const { groups, group_names: names } = board.facts;
    return teamColor(groups && names && names.length > 1 ? groups[seat] : seat);
  };

  // board: what is the same in all episodes. select(i): an agent was chosen, null for none.
  marlx.panel = function (board, select) {
    const agents = board.agents;
    const cards = agents.map((agent, i) => card(agent, i));
    const root = element("div", { class: "cards" }, cards.map((one) => one.root));
    let range = null;

    function card(agent, i) {
      const color = marlx.colorOf(board, agent.seat);
      const chip = element("span", { class: "chip", text: agent.name });
      chip.style.background = css(color);
      chip.style.color = ink(color);
      const name = element("span", { class: "who", text: nameOf(agent) });
      const level = element("span", { class: "quiet level" });
      const you = element("span", { class: "you", text: "you", hidden: true });
      const action = element("span", { class: "action" });
      const bars = element("div", { class: "bars" });
      const notes = element("div", { class: "notes" });
      const strip = element("div", { class: "strip", title: "embedding of the partners" });
      const head = element("button", {
        class: "head", type: "button", "aria-pressed": "false", title: "show this agent on the board",
        onclick: () => select(i),
      }, [chip, name, you, level, action]);
      const root = element("section", { class: "card", "aria-label": `agent ${agent.name}` }, [head, bars, notes, strip]);
      return { root, head, name, you, level, action, bars, notes, strip, color, rows: [], cells: [] };
    }

    function nameOf(agent) {
      const names = board.facts.names;
      return names ? names[agent.seat].replace(/_/g, " ") : `agent ${agent.seat}`;
    }

    function showBars(one, i, step, shown, chosen) {
      const kind = shown.q ? "q" : "probability";
      const values = shown[kind];
      if (!values || !step) return one.bars.replaceChildren();
      const count = Math.min(board.sizes[i], values.length / agents.length);
      const mine = Array.from(values.slice(i * (values.length / agents.length)).slice(0, count));
      const legal = step.legal.slice(i * (step.legal.length / agents.length));
      const listed = mostTelling(mine, legal, chosen);
      while (one.rows.length < listed.length) one.rows.push(row());
      one.bars.replaceChildren(...one.rows.slice(0, listed.length).map((r) => r.root));
      const [low, high] = kind === "q" ? range[i] : [0, 1];
      listed.forEach((a, k) => {
        const r = one.rows[k];
        r.root.className = `row${a === chosen ? " taken" : ""}${legal[a] ? "" : " illegal"}`;
        r.name.textContent = board.names[i][a];
        const share = legal[a] ? (mine[a] - low) / Math.max(high - low, 1e-9) : 0;
        r.fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
        r.fill.style.background = css(one.color);
        r.value.textContent = legal[a] ? number(mine[a]) : "–";
      });
      one.bars.dataset.kind = kind === "q" ? "Q" : "probability";
    }

    function mostTelling(values, legal, chosen) {
      const all = values.map((_, a) => a);
      if (all.length <= MOST_ROWS) return all;
      const best = all.filter((a) => legal[a]).sort((a, b) => values[b] - values[a]).slice(0, MOST_ROWS - 1);
      return [...new Set(chosen >= 0 ? [...best, chosen] : best)].sort((a, b) => a - b);
    }

    function row() {
      const name = element("span", { class: "name" });
      const fill = element("span", { class: "fill" });
      const value = element("span", { class: "value" });
      return { root: element("div", {}, [name, element("span", { class: "bar" }, [fill]), value]), name, fill, value };
    }

    function showNotes(one, i, shown) {
      const notes = [];
      if (shown.subgoal) {
        const goal = shown.subgoal[i];
        notes.push(["subgoal", board.subgoals[goal] || `subgoal ${goal}`]);
      }
      one.notes.replaceChildren(
        ...notes.map(([name, text]) => element("span", { class: "note" }, [
          element("span", { class: "quiet", text: `${name} ` }), element("b", { text }),
        ])),
      );
    }

    function showStrip(one, i, shown) {
      const all = shown.embedding;
      one.strip.style.display = all ? "" : "none";
      if (!all) return;
      const width = all.length / agents.length;
      while (one.cells.length < width) one.cells.push(one.strip.appendChild(element("i")));
      for (let k = 0; k < width; k++) {
        const value = all[i * width + k];
        one.cells[k].style.background = value >= 0 ? "var(--high)" : "var(--low)";
        one.cells[k].style.opacity = Math.min(1, 0.08 + Math.abs(value) / scaleOf(width));
        one.cells[k].title = number(value);
      }
    }

    // Embeddings of unit length have entries of about 1 / sqrt(width).
    const scaleOf = (width) => 2 / Math.sqrt(width);

    // Where the episode is not known beforehand, the scale grows with what was seen.
    function widen(q, legal) {
      range = range || agents.map(() => [Infinity, -Infinity]);
      const width = q.length / agents.length;
      q.forEach((value, k) => {
        if (!legal[k]) return;
        const one = range[Math.floor(k / width)];
        one[0] = Math.min(one[0], value - 0.01);
        one[1] = Math.max(one[1], value);
      });
    }

    return {
      root,
      // Q-values of an agent share one scale over the episode, so that bars can be compared.
      begin(shown, legal) {
        range = agents.map((_, i) => {
          let [low, high] = [Infinity, -Infinity];
          if (!shown.q) return [0, 1];
          const [T, N, A] = shown.q.shape;
          for (let t = 0; t < T; t++) {
            for (let a = 0; a < A; a++) {
              const k = (t * N + i) * A + a;
              if (!legal.values[k]) continue;
              low = Math.min(low, shown.q.values[k]);
              high = Math.max(high, shown.q.values[k]);
            }
          }
          return [low - 0.04 * (high - low), high];  // the lowest has a bar, too
        });
      },
      // step: {action, legal} of the step that starts here, null at the end of the episode.
      // person: where one plays, {seat, hidden, plain}: its card shows no values while `hidden`, and
      // with `plain` actions are those of the last step, so that none is marked among the values.
      draw(frame, step, shown, selected, person) {
        if (person && shown.q) widen(shown.q, step.legal);
        cards.forEach((one, i) => {
          const mine = Boolean(person && person.seat === i);
          const seat = agents[i].seat;
          one.level.textContent = frame.agent_level ? `level ${frame.agent_level[seat]}` : "";
          one.action.textContent = step ? actionText(step, i) : "";
          one.root.classList.toggle("chosen", selected === i);
          one.head.setAttribute("aria-pressed", String(selected === i));
          one.you.hidden = !mine;
          one.name.hidden = mine;
          showBars(one, i, step, mine && person.hidden ? {} : shown, person ? -1 : step && step.action[i]);
          showNotes(one, i, shown);
          showStrip(one, i, shown);
        });
      },
    };

    function actionText(step, i) {
      if (!board.continuous) return board.names[i][step.action[i]] || "";
      const width = step.action.length / agents.length;
      return Array.from(step.action.slice(i * width, (i + 1) * width), (x) => number(x, 1)).join(" ");
    }
  };
})();
