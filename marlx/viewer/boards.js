"use strict";
// A drawer for each kind of scene: (facts, agents) -> {root, begin(frames, pictures), draw(frame, hints)}.
// `begin` gets all frames of an episode; `draw` one, with hints {action, selected, t}.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});
  const { svg, label, css, darker, ink, teamColor } = marlx;
  const boards = (marlx.boards = {});
  const CELL = 40;

  function canvas(left, top, width, height, description) {
    return svg("svg", {
      viewBox: `${left} ${top} ${width} ${height}`, class: "board", role: "img",
      "aria-label": description,
    });
  }

  function lines(rows, cols) {
    let path = "";
    for (let r = 0; r <= rows; r++) path += `M0 ${r * CELL}H${cols * CELL}`;
    for (let c = 0; c <= cols; c++) path += `M${c * CELL} 0V${rows * CELL}`;
    return svg("path", { d: path, class: "lines" });
  }

  function place(node, x, y, scale, turn) {
    const rotate = turn === undefined ? "" : ` rotate(${turn}deg)`;
    node.style.transform = `translate(${x}px, ${y}px) scale(${scale})${rotate}`;
  }

  // Where agents stand in a cell that several share: [right, down, scale].
  function seats(pos, count) {
    const corners = [[-10, -10], [10, 10], [10, -10], [-10, 10]];
    const together = new Map();
    for (let i = 0; i < count; i++) {
      const cell = `${pos[2 * i]},${pos[2 * i + 1]}`;
      together.set(cell, [...(together.get(cell) || []), i]);
    }
    return Array.from({ length: count }, (_, i) => {
      const here = together.get(`${pos[2 * i]},${pos[2 * i + 1]}`);
      return here.length === 1 ? [0, 0, 1] : [...corners[here.indexOf(i) % 4], 0.52];
    });
  }

  function mark(node, row, col) {
    node.dataset.row = row;
    node.dataset.col = col;
  }

  const DIRECTIONS = { north: [0, -1, -90], south: [0, 1, 90], west: [-1, 0, 180], east: [1, 0, 0] };

  boards.foraging = function (facts, agents, names) {
    const [rows, cols] = facts.size;
    const root = canvas(-4, -4, cols * CELL + 8, rows * CELL + 8, "board of level-based foraging");
    const foods = svg("g");
    const people = svg("g");
    const sight = svg("rect", { class: "sight", rx: 6 });
    root.append(
      svg("rect", { class: "floor", width: cols * CELL, height: rows * CELL, rx: 4 }),
      lines(rows, cols), sight, foods, people,
    );
    const small = Math.max(rows, cols) > 12; // tiles fill their cells, and the cards name the colours
    const size = small ? 22 : 16;
    const half = small ? 18 : 14.5;
    const tiles = Array.from({ length: facts.agents }, (_, i) => agentTile(i));
    tiles.forEach((tile) => people.append(tile.root));
    const apples = [];

    function agentTile(i) {
      const color = teamColor(i);
      const level = label(0, 1.5, "", small ? 27 : 20, { fill: ink(color), "font-weight": 700 });
      const hint = svg("path", { class: "intent", d: "M17.5 -5L23 0L17.5 5Z", fill: css(darker(color)) });
      const ring = svg("rect", {
        class: "intent", x: -18, y: -18, width: 36, height: 36, rx: 10, fill: "none",
        stroke: css(color), "stroke-width": 2.5, "stroke-dasharray": "5 3.2",
      });
      const tile = svg("g", { class: "agent" }, [
        svg("rect", {
          x: -half, y: -half, width: 2 * half, height: 2 * half, rx: 7, fill: css(color),
          stroke: css(darker(color)), "stroke-width": 1.5,
        }),
        level,
        !small && svg("circle", { cx: -12, cy: -12, r: 6.6, class: "badge", stroke: css(darker(color)) }),
        !small && label(-12, -11.6, marlx.agentName(i), 8.6, { class: "letter" }),
        hint, ring,
      ]);
      return { root: tile, level, hint, ring };
    }

    function apple() {
      const text = label(0, small ? 2 : 3, "", size, { fill: "#fff", "font-weight": 700 });
      const node = svg("g", { class: "food" }, [
        svg("path", { d: "M0 -9C0 -13 1 -15 3 -17", class: "stalk" }),
        svg("path", { d: "M2 -11C5 -17 10 -17 14 -16C12 -11 7 -9 2 -11Z", class: "leaf" }),
        svg("path", { d: "M0 -9C8 -14 15 -8 14 1C13 9 7 15 0 13C-7 15 -13 9 -14 1C-15 -8 -8 -14 0 -9Z", class: "apple" }),
        text,
      ]);
      foods.append(node);
      return { root: node, text };
    }

    function drawAgent(tile, i, frame, hints, seat) {
      const row = frame.agent_pos[2 * i];
      const col = frame.agent_pos[2 * i + 1];
      mark(tile.root, row, col);
      place(tile.root, (col + 0.5) * CELL + seat[0], (row + 0.5) * CELL + seat[1], seat[2]);
      tile.level.textContent = frame.agent_level[i];
      tile.root.classList.toggle("chosen", hints.selected === i);
      const name = hints.action ? names[0][hints.action[i]] : "";
      const way = DIRECTIONS[name];
      tile.hint.style.display = way ? "" : "none";
      if (way) tile.hint.setAttribute("transform", `rotate(${way[2]})`);
      tile.ring.style.display = name === "load" ? "" : "none";
    }

    return {
      root,
      begin() {},
      draw(frame, hints) {
        const count = frame.food_level.length;
        while (apples.length < count) apples.push(apple());
        apples.forEach((one, f) => {
          const there = f < count && frame.food_level[f] > 0;
          one.root.style.display = there ? "" : "none";
          if (!there) return;
          one.root.setAttribute(
            "transform",
            `translate(${(frame.food_pos[2 * f + 1] + 0.5) * CELL} ${(frame.food_pos[2 * f] + 0.5) * CELL})`,
          );
          mark(one.root, frame.food_pos[2 * f], frame.food_pos[2 * f + 1]);
          one.text.textContent = frame.food_level[f];
          one.text.setAttribute("font-size", frame.food_level[f] > 99 ? 11 : size);
        });
        const where = seats(frame.agent_pos, facts.agents);
        tiles.forEach((tile, i) => drawAgent(tile, i, frame, hints, where[i]));
        const one = hints.selected;
        const limited = one !== null && one !== undefined && facts.view < Math.max(rows, cols) - 1;
        sight.style.display = limited ? "" : "none";
        if (limited) {
          const top = Math.max(0, frame.agent_pos[2 * one] - facts.view);
          const left = Math.max(0, frame.agent_pos[2 * one + 1] - facts.view);
          const bottom = Math.min(rows, frame.agent_pos[2 * one] + facts.view + 1);
          const right = Math.min(cols, frame.agent_pos[2 * one + 1] + facts.view + 1);
          for (const [name, value] of [["x", left], ["y", top], ["width", right - left], ["height", bottom - top]]) {
            sight.setAttribute(name, value * CELL);
          }
          sight.setAttribute("stroke", css(teamColor(one)));
        }
      },
    };
  };

  function arrowhead(i) {
    const color = teamColor(i);
    const head = svg("path", {
      d: "M16 0L-12.5 13L-7 0L-12.5 -13Z", fill: css(color), stroke: css(darker(color)),
      "stroke-width": 1.5, "stroke-linejoin": "round",
    });
    const text = label(0, 0.5, marlx.agentName(i), 9.5, { fill: ink(color), "font-weight": 700 });
    const turning = svg("g", { class: "turning" }, [head]);
    const extra = svg("g");
    const root = svg("g", { class: "agent" }, [turning, text, extra]);
    return { root, turning, extra, turn: null };
  }

  function drawArrow(one, i, frame, hints, seat) {
    const row = frame.agent_pos[2 * i];
    const col = frame.agent_pos[2 * i + 1];
    mark(one.root, row, col);
    place(one.root, (col + 0.5) * CELL + seat[0], (row + 0.5) * CELL + seat[1], seat[2]);
    one.root.classList.toggle("chosen", hints.selected === i);
    // the shorter way round, so that it never spins
    const wanted = frame.agent_dir[i] * 90;
    const from = one.turn === null ? wanted : one.turn;
    one.turn = from + (((wanted - from) % 360) + 540) % 360 - 180;
    one.turning.style.transform = `rotate(${one.turn}deg)`;
  }

  function keyShape() {
    return svg("g", { class: "key" }, [
      svg("circle", { cx: -5, cy: 0, r: 5, fill: "none", "stroke-width": 3.4 }),
      svg("path", { d: "M0 0H11M6 0V5M10 0V6", fill: "none", "stroke-width": 3, "stroke-linecap": "round" }),
    ]);
  }

  boards.doorkey = function (facts) {
    const size = facts.size;
    const root = canvas(-4, -4, size * CELL + 8, size * CELL + 8, "board of DoorKey");
    const walls = svg("path", { class: "wall" });
    const goal = svg("g", { class: "goal" }, [
      svg("rect", { x: -15, y: -15, width: 30, height: 30, rx: 4 }),
      svg("path", { d: "M-5 10V-10L9 -5L-5 0" }),
    ]);
    const door = svg("g", { class: "door" });
    const key = keyShape();
    const heads = Array.from({ length: facts.agents }, (_, i) => arrowhead(i));
    const carried = heads.map((head) => {
      const badge = svg("g", { transform: "translate(11 -12)" }, [
        svg("circle", { r: 8, class: "badge", stroke: "#9a6b00" }),
        svg("g", { transform: "scale(0.5)" }, [keyShape()]),
      ]);
      head.extra.append(badge);
      return badge;
    });
    root.append(
      svg("rect", { class: "floor", width: size * CELL, height: size * CELL }),
      lines(size, size), walls, goal, door, key, ...heads.map((head) => head.root),
    );
    const at = (node, row, col) =>
      node.setAttribute("transform", `translate(${(col + 0.5) * CELL} ${(row + 0.5) * CELL})`);
    let drawn = "";

    function drawWalls(frame) {
      const [wall, row, how] = [frame.wall_col[0], frame.door_row[0], frame.door[0]];
      if (drawn === `${wall},${row},${how}`) return;
      drawn = `${wall},${row},${how}`;
      const length = size * CELL;
      let path = `M0 0H${length}V${CELL}H0ZM0 ${length - CELL}H${length}V${length}H0Z`;
      path += `M0 0H${CELL}V${length}H0ZM${length - CELL} 0H${length}V${length}H${length - CELL}Z`;
      for (let r = 1; r < size - 1; r++) {
        if (r !== row) path += `M${wall * CELL} ${r * CELL}h${CELL}v${CELL}h${-CELL}Z`;
      }
      walls.setAttribute("d", path);
      at(door, row, wall);
      door.dataset.door = ["open", "closed", "locked"][how];
      door.replaceChildren(
        how === 0
          ? svg("rect", { x: -20, y: -20, width: 40, height: 7, rx: 1.5 })
          : svg("rect", { x: -18, y: -18, width: 36, height: 36, rx: 3 }),
        how === 2 && svg("path", { class: "hole", d: "M0 -7a5 5 0 0 1 2.6 9.2L4 10H-4L-2.6 2.2A5 5 0 0 1 0 -7Z" }),
        how === 1 && svg("circle", { class: "hole", cx: 11, cy: 0, r: 3 }),
      );
    }

    return {
      root,
      begin() {},
      draw(frame, hints) {
        drawWalls(frame);
        at(goal, frame.goal_pos[0], frame.goal_pos[1]);
        key.style.display = frame.carrier[0] < 0 ? "" : "none";
        at(key, frame.key_pos[0], frame.key_pos[1]);
        const where = seats(frame.agent_pos, facts.agents);
        heads.forEach((head, i) => {
          drawArrow(head, i, frame, hints, where[i]);
          carried[i].style.display = frame.carrier[0] === i ? "" : "none";
        });
      },
    };
  };

  boards.trashgrid = function (facts) {
    const [rows, cols] = facts.size;
    const [high, wide] = facts.bin;
    const root = canvas(-4, -4, cols * CELL + 8, rows * CELL + 8, "board of TrashGrid");
    const things = svg("g");
    const heads = Array.from({ length: facts.agents }, (_, i) => arrowhead(i));
    root.append(
      svg("rect", { class: "floor", width: cols * CELL, height: rows * CELL, rx: 4 }),
      svg("rect", {
        class: "bin", x: (cols - wide) * CELL, y: (rows - high) * CELL, width: wide * CELL, height: high * CELL,
      }),
      lines(rows, cols),
      label((cols - wide / 2) * CELL, (rows - high / 2) * CELL, "bin", 26, { class: "quiet" }),
      things, ...heads.map((head) => head.root),
    );

    function piece(big) {
      return big
        ? svg("g", { class: "trash big" }, [
            svg("rect", { x: -14, y: -14, width: 28, height: 28, rx: 2 }),
            svg("path", { d: "M-14 0H14M0 -14V14" }),
          ])
        : svg("g", { class: "trash" }, [svg("path", { d: "M-4 -12H4L2 -6C9 -4 10 10 6 11H-6C-10 10 -9 -4 -2 -6Z" })]);
    }

    return {
      root,
      begin() {},
      draw(frame, hints) {
        things.replaceChildren();
        const loads = new Array(facts.agents).fill(0);
        frame.holder.forEach((holder, k) => {
          if (holder >= 0 && holder < facts.agents) loads[holder] += 1;
          if (holder >= 0) return;
          const node = piece(frame.trash_kind[k] === 2);
          node.setAttribute(
            "transform",
            `translate(${(frame.trash_pos[2 * k + 1] + 0.5) * CELL} ${(frame.trash_pos[2 * k] + 0.5) * CELL})`,
          );
          things.append(node);
        });
        const where = seats(frame.agent_pos, facts.agents);
        heads.forEach((head, i) => {
          drawArrow(head, i, frame, hints, where[i]);
          head.extra.replaceChildren();
          if (!loads[i]) return;
          head.extra.append(
            svg("circle", { cx: 12, cy: -12, r: 7, class: "badge", stroke: "#555" }),
            label(12, -11.6, loads[i], 9, { class: "letter" }),
          );
        });
      },
    };
  };

  const KINDS = { landmark: [140, 144, 156], obstacle: [128, 132, 146], food: [200, 140, 30], forest: [120, 170, 120] };
  const MARKS = [[213, 94, 0], [0, 158, 115], [0, 114, 178]];

  boards.particles = function (facts) {
    const root = canvas(-1, -1, 2, 2, "particle world");
    const scene = svg("g", { transform: "scale(1 -1)" });
    const several = facts.group_names.length > 1;
    const colors = facts.sizes.map((_, i) => teamColor(several ? facts.groups[i] : i));
    const marks = facts.landmarks.map((one, k) => {
      const color = facts.colored ? MARKS[k % 3] : KINDS[one.kind] || KINDS.landmark;
      return svg("circle", {
        r: one.size, fill: css(color), stroke: css(darker(color)), "stroke-width": 0.008,
        class: `landmark ${one.kind === "forest" ? "forest" : ""}`,
      });
    });
    const rings = svg("g");
    const bodies = facts.sizes.map((size, i) => body(size, i));
    const order = marks.map((_, k) => k).sort((a, b) => facts.landmarks[b].size - facts.landmarks[a].size);
    scene.append(
      svg("rect", { x: -1, y: -1, width: 2, height: 2, class: "floor", rx: 0.02 }),
      ...walls(), ...order.map((k) => marks[k]), rings, ...bodies.map((one) => one.root),
    );
    root.append(scene);

    function walls() {
      if (!facts.walls) return [];
      const [where, end, half] = facts.walls;
      const sides = [[-where, 0, half, end], [where, 0, half, end], [0, -where, end, half], [0, where, end, half]];
      return sides.map(([x, y, w, h]) => svg("rect", { class: "wall", x: x - w, y: y - h, width: 2 * w, height: 2 * h }));
    }

    // The view grows in steps, so that it rests while bodies move about.
    function fit(frame) {
      let reach = facts.walls ? facts.walls[0] + facts.walls[2] + 0.06 : 1.12;
      let wanted = reach;
      const farthest = (values, sizes) => values.forEach((v, k) => {
        wanted = Math.max(wanted, Math.abs(v) + sizes[k >> 1] + 0.03);
      });
      farthest(frame.agent_pos, facts.sizes);
      farthest(frame.landmark_pos, facts.landmarks.map((one) => one.size));
      while (reach < wanted) reach *= 1.25;
      root.setAttribute("viewBox", `${-reach} ${-reach} ${2 * reach} ${2 * reach}`);
    }

    function body(size, i) {
      const kind = facts.names[i].replace(/_\d+$/, "");
      const number = (facts.names[i].match(/_(\d+)$/) || [])[1];
      const short = /^(agent|adversary|predator|good)$/.test(kind) && number ? number : kind[0].toUpperCase();
      const speed = svg("line", { stroke: css(darker(colors[i])), "stroke-width": 0.018, "stroke-linecap": "round" });
      const bubble = svg("g", { class: "bubble", transform: "scale(1 -1)" }, [
        svg("rect", { x: size + 0.01, y: -size - 0.13, width: 0.12, height: 0.12, rx: 0.03, stroke: css(colors[i]) }),
        label(size + 0.07, -size - 0.068, "", 0.085, { class: "letter" }),
      ]);
      const node = svg("g", { class: "agent" }, [
        speed,
        svg("circle", { r: size, fill: css(colors[i]), stroke: css(darker(colors[i])), "stroke-width": 0.01 }),
        label(0, 0, short, Math.min(0.1, Math.max(0.05, size * 1.15)), { fill: ink(colors[i]), "font-weight": 700, transform: "scale(1 -1)" }),
        bubble,
      ]);
      return { root: node, speed, bubble };
    }

    return {
      root,
      begin() {},
      draw(frame, hints) {
        fit(frame);
        marks.forEach((node, k) => {
          node.setAttribute("cx", frame.landmark_pos[2 * k]);
          node.setAttribute("cy", frame.landmark_pos[2 * k + 1]);
        });
        rings.replaceChildren();
        for (let g = 0; g < frame.goals.length / 2; g++) {
          const [k, owner] = [frame.goals[2 * g], frame.goals[2 * g + 1]];
          rings.append(svg("circle", {
            cx: frame.landmark_pos[2 * k], cy: frame.landmark_pos[2 * k + 1],
            r: facts.landmarks[k].size + 0.025 + 0.02 * g, class: "ring",
            stroke: owner < 0 ? "var(--accent)" : css(colors[owner]),
          }));
        }
        bodies.forEach((one, i) => {
          const [x, y] = [frame.agent_pos[2 * i], frame.agent_pos[2 * i + 1]];
          one.root.setAttribute("transform", `translate(${x} ${y})`);
          one.root.dataset.x = x.toFixed(4);
          one.root.dataset.y = y.toFixed(4);
          one.root.classList.toggle("chosen", hints.selected === i);
          one.speed.setAttribute("x2", frame.agent_vel[2 * i] * 0.5);
          one.speed.setAttribute("y2", frame.agent_vel[2 * i + 1] * 0.5);
          const speaker = facts.speakers.indexOf(i);
          one.bubble.style.display = speaker < 0 ? "none" : "";
          if (speaker < 0) return;
          const width = frame.comm.length / facts.speakers.length;
          const said = Array.from(frame.comm.slice(speaker * width, (speaker + 1) * width));
          const most = Math.max(...said);
          one.bubble.lastChild.textContent = most > 0 ? String.fromCharCode(65 + said.indexOf(most)) : "–";
        });
      },
    };
  };

  const MOST_TABLES = 4;

  boards.matrix = function (facts) {
    const count = facts.agents;
    const stages = facts.payoff.length;
    const before = facts.sizes.slice(0, Math.max(0, count - 2));
    const [rows, cols] = count > 1 ? facts.sizes.slice(-2) : [1, facts.sizes[0]];
    const [W, H, LEFT, TOP] = [64, 46, 54, 62];
    const slices = [[]];
    for (const size of before) {
      const more = slices.splice(0).flatMap((one) => Array.from({ length: size }, (_, a) => [...one, a]));
      slices.push(...more);
    }
    const all = stages * slices.length <= MOST_TABLES;
    const across = all ? stages * slices.length : 1;
    const width = Math.max(LEFT + cols * W + 16, 200);
    const root = canvas(0, 0, across * width, TOP + rows * H + 16, "payoff table");
    let [most, least] = [1e-9, -1e-9];
    (function reach(part, depth) {
      if (depth === 0) {
        const mean = part.reduce((a, b) => a + b, 0) / part.length;
        most = Math.max(most, mean);
        least = Math.min(least, mean);
      } else part.forEach((one) => reach(one, depth - 1));
    })(facts.payoff, 1 + count);

    function inside(stage, slice) {
      const part = slice.reduce((one, a) => one[a], facts.payoff[stage]);
      return count > 1 ? part : [part];
    }

    function table(index, stage, slice, frame, hints) {
      const chosen = hints.action;
      const last = frame.last_action;
      const same = (action, r, c) => {
        const own = count > 1 ? [...slice, r, c] : [c];
        return action && own.every((a, i) => a === action[i]);
      };
      const live = stage === frame.stage[0];
      const title = [];
      if (stages > 1) title.push(`stage ${stage}`);
      slice.forEach((a, i) => title.push(`${marlx.agentName(i)} plays ${a}`));
      const node = svg("g", { transform: `translate(${index * width} 0)`, class: live ? "" : "asleep" }, [
        label(LEFT + (cols * W) / 2, 14, title.join(", "), 15, { "font-weight": 600 }),
        label(LEFT + (cols * W) / 2, 36, count > 1 ? `actions of ${marlx.agentName(count - 1)}` : "actions", 12, { class: "quiet" }),
        count > 1 && label(12, TOP + (rows * H) / 2, `actions of ${marlx.agentName(count - 2)}`, 12, {
          class: "quiet", transform: `rotate(-90 12 ${TOP + (rows * H) / 2})`,
        }),
      ]);
      inside(stage, slice).forEach((cells, r) => {
        if (count > 1) node.append(label(LEFT - 14, TOP + (r + 0.5) * H, r, 13, { class: "quiet" }));
        cells.forEach((pay, c) => {
          if (r === 0) node.append(label(LEFT + (c + 0.5) * W, TOP - 11, c, 13, { class: "quiet" }));
          const mean = pay.reduce((a, b) => a + b, 0) / pay.length;
          const text = facts.per_agent ? pay.map((p) => +p.toPrecision(3)).join(", ") : String(+pay[0].toPrecision(4));
          const played = stage === frame.played[0] && last[0] >= 0 && same(last, r, c);
          const cell = svg("rect", {
            x: LEFT + c * W + 1.5, y: TOP + r * H + 1.5, width: W - 3, height: H - 3, rx: 4,
            class: `cell ${mean < 0 ? "loss" : "gain"}${played ? " played" : ""}`,
            "fill-opacity": 0.08 + 0.72 * (mean >= 0 ? mean / most : mean / least),
          });
          cell.dataset.played = played;
          node.append(cell);
          if (live && same(chosen, r, c)) {
            node.append(svg("rect", {
              x: LEFT + c * W + 5, y: TOP + r * H + 5, width: W - 10, height: H - 10, rx: 3, class: "next",
            }));
          }
          node.append(label(LEFT + (c + 0.5) * W, TOP + (r + 0.5) * H, text, text.length > 6 ? 12 : 16, {}));
        });
      });
      return node;
    }

    return {
      root,
      begin() {},
      draw(frame, hints) {
        root.replaceChildren();
        if (all) {
          let index = 0;
          for (let s = 0; s < stages; s++) {
            for (const slice of slices) root.append(table(index++, s, slice, frame, hints));
          }
          return;
        }
        const action = hints.action || (frame.last_action[0] >= 0 ? frame.last_action : null);
        const slice = Array.from({ length: before.length }, (_, i) => (action ? action[i] : 0));
        root.append(table(0, frame.stage[0], slice, frame, hints));
      },
    };
  };

  boards.pictures = function () {
    const root = marlx.element("img", { class: "board picture", alt: "picture of the environment" });
    let pictures = [];
    return {
      root,
      begin(_, embedded) { pictures = embedded || []; },
      draw(frame, hints) { root.src = hints.picture || pictures[Math.min(hints.t, pictures.length - 1)] || ""; },
    };
  };

  boards.nothing = function () {
    const root = marlx.element("p", { class: "board quiet", text: "This environment has no picture." });
    return { root, begin() {}, draw() {} };
  };

  marlx.agentName = function (i) {
    const again = Math.floor(i / 26);
    return String.fromCharCode(65 + (i % 26)) + (again ? String(again + 1) : "");
  };
})();
