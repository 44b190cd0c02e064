"use strict";
// Arrays of the page's data: {type, shape, data}, see marlx/viewer/data.py.
(function () {
  const marlx = (globalThis.marlx = globalThis.marlx || {});

  function bytes(text) {
    const raw = atob(text);
    const out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }

  function half(word) {
    const sign = word & 0x8000 ? -1 : 1;
    const exponent = (word >> 10) & 31;
    const fraction = word & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  function values(packed, count) {
    const raw = bytes(packed.data);
    const view = new DataView(raw.buffer);
    if (packed.type === "bits") {
      return Uint8Array.from({ length: count }, (_, i) => (raw[i >> 3] >> (i & 7)) & 1);
    }
    if (packed.type === "int8") return new Int8Array(raw.buffer);
    if (packed.type === "int16") {
      return Int16Array.from({ length: count }, (_, i) => view.getInt16(2 * i, true));
    }
    if (packed.type === "int32") {
      return Int32Array.from({ length: count }, (_, i) => view.getInt32(4 * i, true));
    }
    if (packed.type === "float16") {
      return Float32Array.from({ length: count }, (_, i) => half(view.getUint16(2 * i, true)));
    }
    return Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
  }

  // Returns {shape, values, at}: `at(t)` is the part of the first axis' index t.
  marlx.decode = function (packed) {
    const count = packed.shape.reduce((a, b) => a * b, 1);
    const row = packed.shape.slice(1).reduce((a, b) => a * b, 1);
    const all = values(packed, count);
    return { shape: packed.shape, values: all, at: (t) => all.subarray(t * row, (t + 1) * row) };
  };

  marlx.decodeAll = function (dictionary) {
    const out = {};
    for (const name of Object.keys(dictionary)) out[name] = marlx.decode(dictionary[name]);
    return out;
  };
})();
