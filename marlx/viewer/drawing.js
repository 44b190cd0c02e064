"use strict";
// Elements, colours and icons. Text is always set as text, never as markup.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const SVG = "http://www.w3.org/2000/svg";

  // Distinct for colour-blind people (Okabe & Ito 2008, and three more), as in marlx.envs.raster.
  marlx.TEAM = [
    [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233],
    [213, 94, 0], [120, 94, 240], [140, 120, 40], [90, 90, 100],
  ];

  function luminance(color) {
    const linear = color.map((c) => (c / 255 <= 0.04045 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  }

  marlx.css = (color) => `rgb(${color.join(",")})`;
  marlx.darker = (color) => color.map((c) => Math.round(c * 0.62));
  // The ink that is easier to read on a colour.
  marlx.ink = (color) => {
    const light = luminance(color);
    return 1.05 / (light + 0.05) > (light + 0.05) / 0.058 ? "#fff" : "#14171b";
  };
  marlx.teamColor = (i) => marlx.TEAM[i % marlx.TEAM.length];

  function filled(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "text") node.textContent = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) {
        node.setAttribute(name, value === true ? "" : String(value));
      }
    }
    for (const child of children || []) if (child) node.append(child);
    return node;
  }

  marlx.element = (tag, attributes, children) =>
    filled(document.createElement(tag), attributes, children);
  marlx.svg = (tag, attributes, children) =>
    filled(document.createElementNS(SVG, tag), attributes, children);
  marlx.label = (x, y, text, size, attributes) =>
    marlx.svg("text", {
      x, y, "font-size": size, "text-anchor": "middle", "dominant-baseline": "central",
      text, ...attributes,
    });

  const ICONS = {
    first: "M5 4h2v16H5zM20 4v16L8 12z",
    back: "M17 4v16L6 12z",
    play: "M7 4l13 8-13 8z",
    pause: "M6 4h4v16H6zM14 4h4v16h-4z",
    forward: "M7 4l11 8-11 8z M7 4",
    last: "M17 4h2v16h-2zM4 4l12 8-12 8z",
  };
  marlx.icon = (name) =>
    marlx.svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, [
      marlx.svg("path", { d: ICONS[name] }),
    ]);

  marlx.number = (value, digits) => {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size >= 1000) return value.toFixed(0);
    const text = value.toFixed(digits === undefined ? (size >= 100 ? 1 : 2) : digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
  };
})();
