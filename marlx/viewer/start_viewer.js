globalThis.marlx.viewer = globalThis.marlx.start(JSON.parse(document.getElementById("data").textContent));
