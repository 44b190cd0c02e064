"use strict";
// Parallel coordinates of a sweep: an axis for each setting that differs, the return as the last.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const { element, svg, label, number } = marlx;
  const [W, H, TOP, BOTTOM, SIDE] = [520, 250, 30, 28, 56];

  const short = (value) => (typeof value === "number" ? String(+value.toPrecision(3)).replace("-", "\u2212") : value);
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}\u2026` : text);

  // Where values stand on an axis, from 0 to 1: numbers by size, by powers of ten where they span
  // more than a factor of 30; anything else one after the other.
  function scale(values) {
    const numbers = values.every((v) => typeof v === "number");
    const distinct = [...new Set(values)];
    if (!numbers) {
      distinct.sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }));
      const at = (v) => (distinct.length > 1 ? distinct.indexOf(v) / (distinct.length - 1) : 0.5);
      return { at, marks: distinct.length > 7 ? [distinct[0], distinct.at(-1)] : distinct };
    }
    distinct.sort((a, b) => a - b);
    const [low, high] = [distinct[0], distinct.at(-1)];
    const log = low > 0 && high / low > 30;
    const size = (v) => (log ? Math.log(v) : v);
    const at = (v) => (high > low ? (size(v) - size(low)) / (size(high) - size(low)) : 0.5);
    const marks = [];
    for (const v of distinct) if (!marks.length || at(v) - at(marks.at(-1)) > 0.09) marks.push(v);
    if (marks.at(-1) !== high) marks.splice(marks.length > 1 ? -1 : 1, marks.length > 1 ? 1 : 0, high);
    return { at, marks };
  }

  // sweep: see `sweeps` in marlx/viewer/watching.py; runs: by name; chosen: a name, or null.
  marlx.parallel = function (sweep, runs, chosen, choose) {
    const lines = sweep.runs.filter((one) => runs.has(one.name))
      .map((one) => ({ name: one.name, values: [...one.values, runs.get(one.name).value] }))
      .sort((a, b) => a.values.at(-1) - b.values.at(-1));
    const names = [...sweep.axes, "return"];
    const scales = names.map((_, k) => scale(lines.map((line) => line.values[k])));
    const x = (k) => SIDE + ((W - 2 * SIDE) * k) / (names.length - 1);
    const y = (share) => H - BOTTOM - (H - BOTTOM - TOP) * share;
    const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "plot parallel", role: "img", "aria-label": `settings and returns of the runs in ${sweep.name}` });
    for (const line of lines) {
      const share = scales.at(-1).at(line.values.at(-1));
      const path = line.values.map((v, k) => `${k ? "L" : "M"}${x(k)} ${y(scales[k].at(v))}`).join("");
      // from pale to strong blue, so that the best runs stand out in print, too
      const strong = chosen === line.name ? 1 : chosen ? 0.12 : 0.2 + 0.8 * share;
      const node = svg("path", { d: path, class: "coordinate", "stroke-opacity": strong, "stroke-width": chosen === line.name ? 3.2 : 1.6, onclick: () => choose(line.name) });
      node.append(svg("title", { text: `${line.name}: return ${number(line.values.at(-1), 3)}` }));
      node.dataset.run = line.name;
      root.append(node);
    }
    const room = Math.floor((W - 2 * SIDE) / (names.length - 1) / 6.4);
    names.forEach((name, k) => {
      root.append(svg("path", { d: `M${x(k)} ${TOP}V${H - BOTTOM}`, class: "axis" }));
      const head = label(x(k), k % 2 && names.length > 4 ? H - 9 : 12, cut(name, names.length > 4 ? 2 * room : Math.max(room, 12)), 11.5, { class: "axis-name" });
      head.append(svg("title", { text: name }));
      root.append(head);
      const last = k === names.length - 1;
      for (const value of scales[k].marks) {
        const place = { class: "quiet halo", style: `text-anchor: ${last ? "start" : "end"}` };
        root.append(label(x(k) + (last ? 5 : -5), y(scales[k].at(value)), cut(short(value), 10), 10.5, place));
      }
    });
    const title = sweep.name || "these runs";
    return element("figure", {}, [
      element("figcaption", {}, [
        element("b", { text: title }),
        element("span", { class: "quiet", text: ` settings and return of ${lines.length} runs on ${sweep.environment}; the best are strongest` }),
      ]),
      root,
    ]);
  };
})();
