"use strict";
// The page to step through episodes: choices, board, timeline, controls, cards.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const { element, svg, icon, number } = marlx;
  const SPEEDS = [1, 2, 4, 8, 16, 32];

  marlx.start = function (data) {
    const board = data.board;
    const drawer = marlx.boards[board.kind](board.facts, board.agents, board.names);
    const panel = marlx.panel(board, (i) => select(i));
    const now = { seed: 0, episode: 0, t: 0, playing: false, speed: 4, selected: null, parts: null };
    let clock = 0;
    let shownAt = -Infinity;

    // --- the parts of the page ---

    const stepText = element("output", { class: "step", "aria-live": "off" });
    const returnText = element("span", { class: "return" });
    const badge = element("span", { class: "mode" });
    const partner = element("span", { class: "quiet" });
    const caption = element("pre", { class: "caption" });
    const slider = element("input", {
      type: "range", min: 0, max: 1, value: 0, step: 1, "aria-label": "step", oninput: () => show(Number(slider.value)),
    });
    const chart = timeline();
    const playButton = button("play", "play", toggle, "main");
    const speed = element("select", { "aria-label": "steps per second", onchange: () => { now.speed = Number(speed.value); } },
      SPEEDS.map((s) => element("option", { value: s, text: `${s} steps/s`, selected: s === now.speed })));
    const seeds = element("select", { onchange: () => open(seeds.selectedIndex, 0) },
      data.seeds.map((one) => element("option", { text: seedText(one) })));
    const episodes = element("select", { onchange: () => open(now.seed, episodes.selectedIndex) });
    document.getElementById("choices").append(
      field("seed", seeds, data.seeds.length > 1), field("episode", episodes, data.seeds.some((one) => one.episodes.length > 1)),
    );
    const stage = element("div", { class: "stage", tabindex: 0, "aria-label": "board; space plays, arrows step" }, [drawer.root]);
    document.getElementById("main").append(
      element("div", { class: "left" }, [
        element("div", { class: "status" }, [stepText, returnText, badge, partner]),
        stage,
        element("div", { class: "time" }, [chart.root, slider]),
        element("div", { class: "controls" }, [
          button("first", "first step (Home)", () => show(0)), button("back", "step back (left)", () => move(-1)),
          playButton, button("forward", "step (right)", () => move(1)),
          button("last", "last step (End)", () => show(length())), speed,
        ]),
        element("p", { class: "quiet keys", text: "space plays, ← → step, Home and End jump; on the board, tap to play and swipe to step" }),
      ]),
      element("div", { class: "right" }, [panel.root, caption]),
    );

    function field(name, control, there) {
      const node = element("label", {}, [element("span", { class: "quiet", text: name }), control]);
      node.hidden = !there;
      return node;
    }

    function button(name, title, onclick, kind) {
      return element("button", { type: "button", title, "aria-label": title, class: kind || "", onclick }, [icon(name)]);
    }

    function seedText(one) {
      return one.mean === null || one.mean === undefined ? `${one.seed}` : `${one.seed}: mean return ${number(one.mean)}`;
    }

    // The return so far over the episode; a click goes to a step.
    function timeline() {
      const line = svg("path", { class: "curve" });
      const area = svg("path", { class: "area" });
      const cursor = svg("line", { class: "cursor", y1: 0, y2: 1 });
      const root = svg("svg", { class: "chart", preserveAspectRatio: "none", "aria-hidden": "true" }, [area, line, cursor]);
      const seek = (event) => {
        const box = root.getBoundingClientRect();
        show(Math.round(((event.clientX - box.left) / box.width) * length()));
      };
      root.addEventListener("pointerdown", (event) => { root.setPointerCapture(event.pointerId); seek(event); });
      root.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });
      return {
        root,
        begin(sums) {
          const [low, high] = [Math.min(0, ...sums), Math.max(1e-9, ...sums)];
          const y = (value) => 0.94 - 0.88 * ((value - low) / Math.max(high - low, 1e-9));
          root.setAttribute("viewBox", `0 0 ${sums.length - 1} 1`);
          const path = sums.map((value, t) => `${t ? `H${t}V` : "M0 "}${y(value)}`).join("");
          line.setAttribute("d", path);
          area.setAttribute("d", `${path}V${y(low)}H0Z`);
        },
        draw(t) { cursor.setAttribute("x1", t); cursor.setAttribute("x2", t); },
      };
    }

    // --- moving ---

    const length = () => now.parts.length;

    function open(seed, episode) {
      now.seed = seed;
      now.episode = episode;
      const chosen = data.seeds[seed];
      seeds.selectedIndex = seed;
      episodes.replaceChildren(...chosen.episodes.map((one, k) =>
        element("option", { text: `${k + 1}: return ${number(one.return)}` })));
      episodes.selectedIndex = episode;
      now.parts = parts(chosen.episodes[episode]);
      drawer.begin(now.parts.frames, chosen.episodes[episode].pictures);
      panel.begin(now.parts.shown, now.parts.legal);
      chart.begin(now.parts.sums);
      slider.max = length();
      show(0);
    }

    function parts(episode) {
      const reward = marlx.decode(episode.reward).values;
      const sums = [0];
      reward.forEach((r) => sums.push(sums[sums.length - 1] + r));
      return {
        length: reward.length, sums, captions: episode.captions || [],
        frames: marlx.decodeAll(episode.frames), action: marlx.decode(episode.action),
        legal: marlx.decode(episode.legal), shown: marlx.decodeAll(episode.shown),
      };
    }

    function show(t) {
      const time = performance.now();
      stage.classList.toggle("quick", time - shownAt < 150); // no gliding from cell to cell then
      shownAt = time;
      now.t = Math.max(0, Math.min(length(), t));
      draw();
      if (now.t === length()) pause();
    }

    function move(by) { pause(); show(now.t + by); }
    function select(i) { now.selected = now.selected === i ? null : i; draw(); }

    function toggle() {
      if (now.playing) return pause();
      if (now.t === length()) show(0);
      now.playing = true;
      clock = performance.now();
      playButton.replaceChildren(icon("pause"));
      requestAnimationFrame(tick);
    }

    function pause() {
      now.playing = false;
      playButton.replaceChildren(icon("play"));
    }

    function tick(time) {
      if (!now.playing) return;
      const steps = Math.floor(((time - clock) * now.speed) / 1000);
      if (steps > 0) {
        clock += (steps * 1000) / now.speed;
        show(now.t + steps);
      }
      requestAnimationFrame(tick);
    }

    function everyone(action) {
      const ego = board.facts.ego;
      if (!ego || !action) return action;
      const all = new Array(board.facts.agents).fill(-1);
      ego.forEach((seat, i) => { all[seat] = action[i]; });
      return all;
    }

    function draw() {
      const { t, parts: p } = now;
      const frame = {};
      for (const name of Object.keys(p.frames)) frame[name] = p.frames[name].at(t);
      const step = t < p.length ? { action: p.action.at(t), legal: p.legal.at(t) } : null;
      const shown = {};
      if (step) for (const name of Object.keys(p.shown)) shown[name] = p.shown[name].at(t);
      const seat = now.selected === null ? null : board.agents[now.selected].seat;
      const action = step && !board.continuous ? everyone(step.action) : null;
      drawer.draw(frame, { action, selected: seat, t });
      panel.draw(frame, step, shown, now.selected);
      chart.draw(t);
      slider.value = t;
      stepText.textContent = `step ${t} of ${p.length}`;
      returnText.textContent = `return ${number(p.sums[t])}`;
      badge.textContent = shown.called ? (shown.called[0] ? "centralised" : "independent") : "";
      badge.classList.toggle("called", Boolean(shown.called && shown.called[0]));
      partner.textContent = frame.partner ? `with ${board.facts.partners[frame.partner[0]]}` : "";
      caption.textContent = step ? p.captions[t] || "" : "";
    }

    // --- keyboard and touch ---

    document.addEventListener("keydown", (event) => {
      if (event.target.closest && event.target.closest("select, textarea, input:not([type=range])")) return;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const does = {
        " ": toggle, ArrowLeft: () => move(-1), ArrowRight: () => move(1),
        Home: () => { pause(); show(0); }, End: () => show(length()),
      }[event.key];
      if (!does || (event.key === " " && event.target.closest("button") && event.target !== playButton)) return;
      event.preventDefault();
      does();
    });
    let start = null;
    stage.addEventListener("pointerdown", (event) => { start = [event.clientX, event.clientY]; });
    stage.addEventListener("pointerup", (event) => {
      if (!start) return;
      const across = event.clientX - start[0];
      start = null;
      if (Math.abs(across) < 24) toggle();
      else move(across < 0 ? 1 : -1);
    });

    open(0, 0);
    return { show, open, toggle, now, length };
  };
})();
