"use strict";
(function () {
  const marlx = globalThis.marlx;
  const data = JSON.parse(document.getElementById("data").textContent);
  marlx.table = data.remote ? marlx.remoteTable(data) : marlx.localTable(data);
  marlx.play = marlx.startPlay(data, marlx.table);
})();
