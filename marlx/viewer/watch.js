"use strict";
// The page of all runs under a folder: a table, and the curves of each environment, kept up to date.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const { element, svg, label, css, teamColor, number } = marlx;
  const data = JSON.parse(document.getElementById("data").textContent);
  const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
  const SIGNS = { live: "●", failed: "✗", stopped: "■", finished: "✓", unreadable: "?" };
  const state = { runs: [], sweeps: [], pictures: new Map(), chosen: null, failed: false, updates: 0 };

  const summary = element("p", { class: "summary", role: "status" });
  const body = element("tbody");
  const heads = ["state", "run", "algorithm", "environment", "steps", "return", "left", "memory", "doctor"];
  const table = element("table", { class: "runs" }, [
    element("thead", {}, [element("tr", {}, heads.map((text) => element("th", { text, scope: "col" })))]), body,
  ]);
  const charts = element("div", { class: "charts" });
  const main = document.getElementById("main");
  main.classList.add("watch");
  main.append(summary, element("div", { class: "scroll" }, [table]), charts);

  function short(value) {
    const units = [[1e6, "M"], [1e3, "k"]];
    for (const [size, letter] of units) if (value >= size) return `${+(value / size).toPrecision(3)}${letter}`;
    return String(+value.toPrecision(3));
  }

  // Round numbers from low to high, about five.
  function ticks(low, high) {
    const rough = (high - low) / 5;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * [1, 2, 2.5, 5, 10].find((m) => m * ten >= rough);
    const out = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) out.push(k * step);
    return out;
  }

  function time(seconds) {
    const whole = Math.round(seconds);
    const two = (x) => String(x).padStart(2, "0");
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  }

  // As `marlx.text.bytes_text`.
  function bytes(size) {
    for (const [unit, letters] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
      if (size >= unit) return `${+(size / unit).toPrecision(3)} ${letters}`;
    }
    return `${size} B`;
  }

  function look(run) {
    const same = state.runs.filter((one) => one.environment === run.environment);
    const k = same.indexOf(run);
    return { color: css(teamColor(k)), dash: DASHES[Math.floor(k / 9) % DASHES.length] };
  }

  function row(run) {
    const share = run.total ? Math.min(1, run.steps / run.total) : 0;
    const bar = element("span", { class: "progress" }, [element("span")]);
    bar.firstChild.style.width = `${share * 100}%`;
    const value = run.value === null ? "" : number(run.value, 3);
    const spread = run.value !== null && run.low !== run.high ? ` (${number(run.low)} to ${number(run.high)})` : "";
    const swatch = svg("svg", { class: "swatch", viewBox: "0 0 24 8" });
    if (run.curve.length) {
      const { color, dash } = look(run);
      swatch.append(svg("path", { d: "M0 4H24", stroke: color, "stroke-width": 3, "stroke-dasharray": dash }));
    }
    const cells = [
      element("td", { class: `state ${run.state}`, text: `${SIGNS[run.state]} ${run.state}` }),
      element("td", { class: "name" }, [swatch, element("span", { text: run.name })]),
      element("td", { text: run.algorithm }), element("td", { text: run.environment }),
      element("td", { class: "number" }, [element("span", { text: run.total ? `${short(run.steps)} of ${short(run.total)}` : "" }), run.total ? bar : null]),
      element("td", { class: "number" }, [element("b", { text: value }), element("span", { class: "quiet", text: spread })]),
      element("td", { class: "number", text: run.left === null ? "" : time(run.left) }),
      element("td", { class: "number", text: run.memory === null ? "" : bytes(run.memory) }),
      element("td", { class: "warned", text: run.warnings.join("; ") }),
    ];
    const node = element("tr", { class: state.chosen === run.name ? "chosen" : "", onclick: () => choose(run.name) }, cells);
    node.dataset.run = run.name;
    return node;
  }

  function chart(environment, runs) {
    const [W, H, L, B] = [520, 230, 52, 26];
    const points = runs.flatMap((run) => run.curve);
    const most = Math.max(...points.map((p) => p[0]), 1);
    let [low, high] = [Math.min(...points.map((p) => p[2])), Math.max(...points.map((p) => p[3]))];
    if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
    const x = (steps) => L + ((W - L - 10) * steps) / most;
    const y = (value) => H - B - (H - B - 14) * ((value - low) / (high - low));
    const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "plot", role: "img", "aria-label": `returns in ${environment}` });
    for (const value of ticks(low, high)) {
      root.append(
        svg("path", { d: `M${L} ${y(value)}H${W - 10}`, class: "lines" }),
        label(L - 6, y(value), String(+value.toPrecision(4)).replace("-", "\u2212"), 11.5, { class: "quiet", style: "text-anchor: end" }),
      );
    }
    for (const steps of ticks(0, most)) {
      const edge = x(steps) > W - 30 ? "text-anchor: end" : "";
      root.append(label(x(steps), H - 9, short(steps), 11.5, { class: "quiet", style: edge }));
    }
    for (const run of runs) {
      const { color, dash } = look(run);
      const faint = state.chosen && state.chosen !== run.name ? 0.18 : 1;
      const up = run.curve.map((p) => `${x(p[0])} ${y(p[3])}`);
      const down = run.curve.map((p) => `${x(p[0])} ${y(p[2])}`).reverse();
      const line = run.curve.map((p, k) => `${k ? "L" : "M"}${x(p[0])} ${y(p[1])}`).join("");
      root.append(
        svg("path", { d: `M${[...up, ...down].join("L")}Z`, fill: color, "fill-opacity": 0.14 * faint }),
        svg("path", { d: line, fill: "none", stroke: color, "stroke-width": 2.2, "stroke-dasharray": dash, "stroke-opacity": faint, "stroke-linejoin": "round" }),
      );
    }
    return element("figure", {}, [
      element("figcaption", {}, [
        element("b", { text: environment }),
        element("span", { class: "quiet", text: " return over environment steps; bands: lowest to highest seed" }),
      ]),
      root,
    ]);
  }

  function choose(name) {
    state.chosen = state.chosen === name ? null : name;
    draw();
  }

  function draw() {
    const counts = {};
    for (const run of state.runs) counts[run.state] = (counts[run.state] || 0) + 1;
    const said = Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ");
    summary.textContent = state.failed ? "marlx watch has ended: this is what was there last." : said || "no runs yet";
    body.replaceChildren(...state.runs.map(row));
    const drawn = new Map();
    for (const run of state.runs) {
      if (run.curve.length > 1) drawn.set(run.environment, [...(drawn.get(run.environment) || []), run]);
    }
    const named = new Map(state.runs.filter((run) => run.value !== null).map((run) => [run.name, run]));
    charts.replaceChildren(
      ...[...drawn].map(([environment, runs]) => chart(environment, runs)),
      ...state.sweeps.map((sweep) => marlx.parallel(sweep, named, state.chosen, choose)),
      ...state.runs.map(picture).filter(Boolean),
    );
  }

  // The GIF of a run: asked for once, and again when it was written again.
  function picture(run) {
    const kept = state.pictures.get(run.name);
    if (run.picture === null || (state.chosen !== null && state.chosen !== run.name)) return null;
    if (kept && kept.at === run.picture) return kept.node;
    const image = element("img", { alt: `an episode of ${run.name}` });
    const node = element("figure", { class: "episode" }, [
      element("figcaption", {}, [element("b", { text: run.name }), element("span", { class: "quiet", text: " an episode" })]), image,
    ]);
    state.pictures.set(run.name, { at: run.picture, node });
    ask("picture", { name: run.name }).then((said) => {
      if (said.data) image.src = said.data;
      else node.replaceChildren(element("p", { class: "quiet", text: said.error }));
    }).catch(() => state.pictures.delete(run.name));
    return node;
  }

  async function ask(name, content) {
    return (await fetch(name, { method: "POST", body: content && JSON.stringify(content) })).json();
  }

  async function update() {
    try {
      const said = await ask("runs");
      state.failed = Boolean(said.error);
      if (said.runs) [state.runs, state.sweeps] = [said.runs, said.sweeps];
    } catch {
      state.failed = true;
    }
    state.updates += 1;
    draw();
    setTimeout(update, data.seconds * 1000);
  }

  marlx.watch = state;
  update();
})();
