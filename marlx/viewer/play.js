"use strict";
// The page at which a person holds a seat: board, actions with their keys, the team's cards.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const { element, number, css, ink } = marlx;
  const KEYS = {
    north: "ArrowUp", up: "ArrowUp", forward: "ArrowUp", south: "ArrowDown", down: "ArrowDown",
    west: "ArrowLeft", left: "ArrowLeft", east: "ArrowRight", right: "ArrowRight",
    load: " ", toggle: " ", stay: ".", done: ".", "pick up": "p", drop: "d", "put down": "d", split: "s",
  };
  const WORDS = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "space" };

  // The key of each action: by its name, else a digit or a letter.
  marlx.keysOf = function (names) {
    const taken = new Set();
    return names.map((name, a) => {
      const wanted = KEYS[name] || (a < 10 ? String(a) : String.fromCharCode(87 + a));
      const key = taken.has(wanted) ? (a < 10 ? String(a) : "") : wanted;
      taken.add(key);
      return key;
    });
  };

  marlx.startPlay = function (data, table) {
    const board = data.board;
    const drawer = marlx.boards[board.kind](board.facts, board.agents, board.names);
    const panel = marlx.panel(board, () => {});
    const now = { seat: 0, policy: 0, drawn: Boolean(data.drawn), view: null, busy: false, hints: false, records: [], totals: [] };
    let keys = [];

    // --- the parts of the page ---

    const stepText = element("output", { class: "step" });
    const returnText = element("span", { class: "return" });
    const message = element("p", { class: "message", role: "status" });
    const moves = element("div", { class: "moves" });
    const played = element("p", { class: "quiet played" });
    const seat = choice("your seat", board.agents.map((one) => `${one.name}: ${nameOf(one)}`), (k) => { now.seat = k; fresh(); });
    const policy = choice("team", data.networks.map((one) => `seed ${one.seed}`), (k) => { now.policy = k; fresh(); });
    const how = choice("their actions", ["greedy", "drawn"], (k) => { now.drawn = k === 1; fresh(); });
    how.select.selectedIndex = now.drawn ? 1 : 0;
    policy.root.hidden = data.networks.length < 2;
    how.root.hidden = !data.chances;
    document.getElementById("choices").append(seat.root, policy.root, how.root);
    const hints = element("input", { type: "checkbox", id: "hints", onchange: () => { now.hints = hints.checked; draw(); } });
    const save = element("button", { type: "button", class: "wide", text: "Save episodes", title: "as JSON lines", onclick: download });
    save.hidden = !table.record;
    const stage = element("div", { class: "stage still" }, [drawer.root]);
    document.getElementById("main").append(
      element("div", { class: "left" }, [
        element("div", { class: "status" }, [stepText, returnText]), stage, message, moves,
        element("div", { class: "controls" }, [
          element("button", { type: "button", class: "wide main", text: "New game (N)", onclick: fresh }), save,
          element("label", { class: "hints" }, [hints, element("span", { text: "show what the team would do in your seat" })]),
        ]),
        played,
      ]),
      element("div", { class: "right" }, [panel.root]),
    );

    function nameOf(agent) {
      return board.facts.names ? board.facts.names[agent.seat].replace(/_/g, " ") : `agent ${agent.seat}`;
    }

    function choice(name, options, pick) {
      const select = element("select", { onchange: () => { select.blur(); pick(select.selectedIndex); } },
        options.map((text) => element("option", { text })));
      return { select, root: element("label", {}, [element("span", { class: "quiet", text: name }), select]) };
    }

    function layOut() {
      const names = board.names[now.seat];
      keys = marlx.keysOf(names);
      moves.replaceChildren(...names.map((name, a) => element("button", { type: "button", class: "move", onclick: () => act(a) }, [
        element("span", { text: name }), element("kbd", { text: WORDS[keys[a]] || keys[a] }),
      ])));
      const color = marlx.colorOf(board, board.agents[now.seat].seat);
      stage.style.borderColor = css(color);
      moves.style.setProperty("--mine", css(color));
      moves.style.setProperty("--on-mine", ink(color));
    }

    // --- playing ---

    async function turn(promise) {
      now.busy = true;
      try {
        now.view = await promise;
      } catch (error) {
        message.textContent = `The server does not answer: ${error.message}`;
        return;
      } finally {
        now.busy = false;
      }
      draw();
    }

    function fresh() {
      layOut();
      return turn(table.start(now.seat, now.policy, now.drawn));
    }

    async function act(a) {
      const width = now.view.legal.length / board.agents.length;
      if (now.busy || now.view.ended || !now.view.legal[now.seat * width + a]) return;
      await turn(table.act(a));
      if (!now.view.ended) return;
      now.totals.push(now.view.total);
      if (table.record) now.records.push(table.record());
      draw();
    }

    function draw() {
      const { view } = now;
      const agent = board.agents[now.seat];
      drawer.draw(view.frame, { action: null, selected: agent.seat, t: 0, picture: view.picture });
      const width = view.legal.length / board.agents.length;
      Array.from(moves.children).forEach((node, a) => { node.disabled = view.ended || !view.legal[now.seat * width + a]; });
      const action = view.last || new Array(board.agents.length).fill(-1);
      panel.draw(view.frame, { action, legal: view.legal }, view.ended ? {} : view.shown, now.seat, {
        seat: now.seat, hidden: !now.hints, plain: true,
      });
      stepText.textContent = `step ${view.t} of ${board.horizon}`;
      returnText.textContent = `return ${number(view.total)}`;
      message.textContent = view.ended
        ? `The episode is over: return ${number(view.total)}. Press N for another.`
        : `You are ${agent.name}; everyone acts when you do.`;
      const totals = now.totals.map((x) => number(x)).join(", ");
      played.textContent = totals ? `Returns so far: ${totals}` : "";
    }

    function download() {
      const lines = now.records.map((one) => JSON.stringify(one)).join("\n");
      const link = element("a", { download: "episodes.jsonl", href: URL.createObjectURL(new Blob([lines, "\n"], { type: "application/jsonl" })) });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }

    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest && event.target.closest("select, input")) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (key === "n" && !keys.includes("n")) { event.preventDefault(); fresh(); return; }
      const a = keys.indexOf(key);
      if (a < 0 || key === "") return;
      event.preventDefault();
      act(a);
    });

    const ready = fresh();
    return { now, act, fresh, ready };
  };
})();
