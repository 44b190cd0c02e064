"""As much of a Weights & Biases server as a run talks to, which remembers what it was told."""

import contextlib
import gzip
import http.server
import json
import threading
from collections.abc import Iterator


class WandbServer(http.server.ThreadingHTTPServer):
    """Answers every question as if all were well, or with errors only."""

    daemon_threads = True

    def __init__(self, broken: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.broken = broken
        self.runs: dict[str, dict] = {}  # by id: what they were made with
        self.history: dict[str, list[dict]] = {}  # by id
        self.files: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """A client that has gone is no news."""


@contextlib.contextmanager
def wandb_server(broken: bool = False) -> Iterator[WandbServer]:
    with WandbServer(broken) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def do_GET(self):
        self._answer({})

    def do_PUT(self):
        self._body()
        self.server.files.append(self.path.split("/", 2)[-1])
        self._answer({})

    def do_POST(self):
        body = self._body()
        if self.path == "/graphql":
            question = json.loads(body)
            self._answer({"data": self._graphql(question, question.get("variables") or {})})
            return
        if self.path.endswith("/file_stream"):
            run_id = self.path.split("/")[-2]
            rows = json.loads(body).get("files", {}).get("wandb-history.jsonl", {})
            told = self.server.history.setdefault(run_id, [])
            told += [json.loads(row) for row in rows.get("content", [])]
        self._answer({})

    def _graphql(self, question: dict, values: dict) -> dict:
        name = question.get("operationName") or ""
        if name == "UpsertBucket":
            run_id = values.get("name") or next(iter(self.server.runs))
            self.server.runs.setdefault(run_id, {}).update(
                {key: value for key, value in values.items() if value is not None}
            )
            project = {"id": "p", "name": "marlx", "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "b", "name": run_id, "displayName": run_id, "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "CreateRunFiles":
            files = [
                {"name": file, "uploadUrl": f"{self.server.url}/up/{file}"}
                for file in values["files"]
            ]
            made = {"runID": "b", "uploadHeaders": [], "files": files}
            return {"createRunFiles": made}
        if name == "CreateArtifact":
            sequence = {"id": "s", "latestArtifact": None}
            artifact = {"id": "a", "digest": "d", "state": "COMMITTED"}
            return {"createArtifact": {"artifact": {**artifact, "artifactSequence": sequence}}}
        if name == "Viewer":
            teams = {"edges": []}
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "teams": teams}}
        return {"project": None}

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(503 if self.server.broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args) -> None:
        """Nothing on the terminal."""
