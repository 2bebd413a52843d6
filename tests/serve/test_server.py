"""A real server in a process of its own: answers, limits, strangers' bytes, new versions, the end."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running_server import Server, running

from imbik.runtime.predictor import load_artefact
from imbik.serve.server import KEEP_ALIVE_S

ARTEFACTS = Path(__file__).parents[1] / "frozen" / "artefacts"
SINGLE, PAIRS, TAGS = ARTEFACTS / "onnx-int8", ARTEFACTS / "pairs", ARTEFACTS / "tags"
TEXTS = ["good card", "bad money", "a b c", "play music", "", "İstanbul ığdır", "card " * 40, "x"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


SMALL_LIMITS = f"""
from pathlib import Path
from imbik.serve import Limits, Served, Settings, serve
limits = Limits(body_bytes=2000, header_bytes=4000, body_s=1.0, texts=4)
serve(Settings((Served("m", Path({str(SINGLE)!r})),), limits), "127.0.0.1", 0, lambda line: print(line, flush=True))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "tokens").write_text("secret\nother\n")
    with running(folder, f"single={SINGLE}", f"pairs={PAIRS}", f"tags={TAGS}", "--lang", "tr") as one:
        yield one


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("strict"), code=SMALL_LIMITS) as one:
        yield one


def test_answers_are_those_of_the_predictor(server):
    predictor = load_artefact(SINGLE, threads=1)
    for text in TEXTS:
        expected = dict(zip(predictor.labels, predictor.predict([text])[0].tolist(), strict=True))
        answer = server.predict(text)
        assert [one["score"] for one in answer] == sorted(expected.values(), reverse=True)
        assert {one["label"]: one["score"] for one in answer} == pytest.approx(expected, abs=1e-6)


def test_a_batch_answers_in_its_order_and_a_pair_is_one_answer(server):
    one_by_one = [server.predict(text, top=1)[0] for text in TEXTS]
    together = server.predict([[text] for text in TEXTS], top=1)
    assert [row[0]["label"] for row in together] == [one["label"] for one in one_by_one]
    expected = load_artefact(PAIRS, threads=1).predict(["a card"], ["money"])[0, 0]
    status, answer, _ = server.ask("POST", "/models/pairs/predict", {"inputs": ["a card", "money"]})
    assert (status, answer) == (200, [{"score": pytest.approx(float(expected), abs=1e-6), "label": "score"}])


def test_raw_scores_are_logits(server):
    expected = load_artefact(SINGLE, threads=1).scores(["good card"])[0]
    assert sorted(one["score"] for one in server.predict("good card", raw_scores=True)) == pytest.approx(
        sorted(expected.tolist()), abs=1e-5
    )


def test_many_clients_get_their_own_answers(server):
    expected = {text: server.predict(text, top=1)[0]["label"] for text in TEXTS}
    scores = {text: server.predict(text, top=1)[0]["score"] for text in TEXTS}

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for step in range(20):
            text = TEXTS[(number + step) % len(TEXTS)]
            connection.request("POST", "/predict", json.dumps({"inputs": text, "top": 1}))
            (found,) = json.loads(connection.getresponse().read())
            # beside other texts a dynamic int8 model answers a little otherwise
            assert found["label"] == expected[text] and abs(found["score"] - scores[text]) < 0.05
        connection.close()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client, range(16)))
    # how many were computed at once is counted
    assert "imbik_batch_texts_bucket" in server.ask("GET", "/metrics")[1]


def test_what_is_here_is_listed(server):
    status, models, _ = server.ask("GET", "/models")
    assert status == 200 and [one["name"] for one in models] == ["single", "pairs", "tags"]
    assert models[0]["labels"] == ["bad", "good", "other"] and models[0]["task"] == "classification"
    assert server.ask("GET", "/models/tags")[1] == models[2]
    assert server.ask("GET", "/models/none")[0] == 404
    assert server.ask("POST", "/models/none/predict", {"inputs": "a"})[0] == 404
    assert server.ask("GET", "/nowhere")[:2] == (404, {"error": "Not Found", "error_type": "not_found"})
    assert server.ask("GET", "/predict")[0] == 405


def test_health_tells_live_from_ready(server):
    assert [server.ask("GET", path)[1] for path in ("/health/live", "/health/ready", "/health")] == [
        {"status": "live"}, {"status": "ready"}, {"status": "ready"},
    ]  # fmt: skip


def test_counters_are_kept_by_address_and_not_by_what_strangers_ask_for(server):
    for number in range(3):
        server.ask("GET", f"/stranger{number}")
    text = server.ask("GET", "/metrics")[1]
    assert 'imbik_requests_total{path="other",status="404"}' in text and "stranger" not in text
    assert re.search(r'imbik_queue_texts\{model="single"\} 0.0', text)


def test_the_description_names_every_address_and_refusal(server):
    status, found, _ = server.ask("GET", "/openapi.json")
    assert status == 200 and found["openapi"].startswith("3.1")
    assert {"/predict", "/models/{name}/predict", "/models", "/health/live", "/health/ready", "/metrics"} <= set(found["paths"])
    assert {"413", "422", "429", "503"} <= set(found["paths"]["/predict"]["post"]["responses"])
    assert "inputs" in found["components"]["schemas"]["PredictRequest"]["required"]


def test_the_page_is_in_the_language_that_was_asked_for_and_needs_nobody_else(server):
    status, text, headers = server.ask("GET", "/")
    assert status == 200 and 'lang="tr"' in text and "Metin" in text
    assert "http://" not in text and "https://" not in text
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_the_log_holds_no_text_of_a_user(server):
    server.predict("Ayşe's secret illness")
    server.ask("POST", "/predict", b'{"inputs": "another secret')
    server.until(lambda: any(line.get("status") == 400 for line in server.lines()))
    assert "secret" not in server.log.read_text()
    last = [line for line in server.lines() if line["event"] == "request"][-1]
    assert {"time", "level", "method", "path", "status", "ms"} <= set(last)


def test_bodies_over_the_limit_are_refused_before_they_are_read(strict):
    big = json.dumps({"inputs": "a" * 3000})
    assert strict.ask("POST", "/predict", big.encode())[0] == 413
    chunk = b"400\r\n" + b"a" * 0x400 + b"\r\n"
    answer = strict.raw(b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunk * 4)
    assert answer.startswith(b"HTTP/1.1 413")
    # said to be huge, and never sent
    answer = strict.raw(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert strict.ask("POST", "/predict", {"inputs": [["a"]] * 5})[0] == 422


def test_slow_and_talkative_clients_are_cut_off_and_the_next_is_answered(strict):
    begun = time.monotonic()
    assert strict.raw(b"POST /predict HTTP/1.1\r\n", b"x-a: b\r\n", pause=0.1).startswith(b"HTTP/1.1 408")
    # drop by drop, for a minute; the answer is lost where the client is still sending
    assert strict.raw(b"POST /predict HTTP/1.1\r\n", *[b"x-a: b\r\n"] * 120, pause=0.5)[:12] in (b"HTTP/1.1 408", b"")
    assert strict.raw(b"").startswith(b"HTTP/1.1 408")  # says nothing at all
    answer = strict.raw(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n", b'{"inp')
    assert answer.startswith(b"HTTP/1.1 408") and b"did not come" in answer
    assert time.monotonic() - begun < 30
    flood = b"GET /health HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 100) for i in range(200)) + b"\r\n"
    assert strict.raw(flood).startswith(b"HTTP/1.1 431")
    endless = b"GET /health HTTP/1.1\r\nx: " + b"y" * 400_000
    assert strict.raw(endless)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 408", b"HTTP/1.1 400", b"")
    assert strict.predict("a")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\nconnection: close\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 7\r\nconnection: close\r\n\r\nabcde",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nx-timeout-ms: \xff\xfe\r\nconnection: close\r\n\r\nabcd",
        b"GET /models/%00%ff..%2f..%2fetc HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n",
    ],
)
def test_strangers_bytes_end_in_a_refusal_or_a_closed_line(strict, request_bytes):
    answer = strict.raw(request_bytes)
    assert not answer or answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 2"), answer
    assert strict.predict("a")


def test_a_connection_waits_longer_for_its_next_request_than_proxies_keep_it(server):
    assert KEEP_ALIVE_S > 60, "what nginx and the load balancers of clouds wait"
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for pause in (0.0, 6.0):  # uvicorn's own time is 5 s
        time.sleep(pause)
        line.request("GET", "/health/live")
        assert line.getresponse().read()
    line.close()


def test_only_clients_with_a_token_are_answered(tmp_path):
    (tmp_path / "tokens").write_text("# clients\nsecret\nother\n")
    with running(tmp_path, str(SINGLE), "--tokens", str(tmp_path / "tokens")) as one:
        for headers, status in [({}, 401), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": "secret"}, 401),
                                ({"Authorization": "Bearer ş".encode().decode("latin-1")}, 401),
                                ({"Authorization": "Bearer secret"}, 200), ({"authorization": "bearer other"}, 200)]:  # fmt: skip
            assert one.ask("POST", "/predict", {"inputs": "a"}, headers)[0] == status, headers
        assert one.ask("GET", "/models")[0] == 401
        assert one.ask("GET", "/health")[0] == 200
        assert "secret" not in one.log.read_text()


def test_a_new_version_comes_without_a_lost_request_and_a_broken_one_does_not_come(tmp_path):
    live = tmp_path / "live"
    live.symlink_to(SINGLE)
    with running(tmp_path, f"m={live}", "--reload-s", "0.1") as one:
        first = one.ask("GET", "/models/m")[1]
        stop, statuses = threading.Event(), []

        def client() -> None:
            while not stop.is_set():
                statuses.append(one.ask("POST", "/predict", {"inputs": "good card"})[0])

        clients = [threading.Thread(target=client) for _ in range(3)]
        for thread in clients:
            thread.start()
        _point(live, TAGS)
        one.until(lambda: one.ask("GET", "/models/m")[1]["task"] == "multi-label")
        broken = tmp_path / "broken"
        shutil.copytree(SINGLE, broken)
        model = broken / json.loads((broken / "manifest.json").read_text())["model"]
        model.write_bytes(model.read_bytes()[:-1] + b"x")
        _point(live, broken)
        one.until(lambda: "the old one stays" in one.log.read_text())
        assert one.ask("GET", "/models/m")[1]["task"] == "multi-label"
        _point(live, SINGLE)
        one.until(lambda: one.ask("GET", "/models/m")[1] == first)
        stop.set()
        for thread in clients:
            thread.join()
        assert len(statuses) > 3 and set(statuses) == {200}
        assert 'imbik_reloads_total{model="m",result="refused"} 1.0' in one.ask("GET", "/metrics")[1]


def _point(link: Path, folder: Path) -> None:
    """Let a link point elsewhere in one step, as a deployment does."""
    new = link.with_name("new-link")
    new.symlink_to(folder)
    os.replace(new, link)


def test_told_to_stop_it_answers_what_it_has_accepted(tmp_path):
    with running(tmp_path, str(SINGLE)) as one:
        many = {"inputs": [["card money " * 30]] * 250}
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(one.ask, "POST", "/predict", many) for _ in range(2)]
            one.until(
                lambda: re.search(r'queue_texts\{model="onnx-int8"\} [1-9]', one.ask("GET", "/metrics")[1]) or all(a.done() for a in asked)
            )
            one.process.send_signal(signal.SIGTERM)
            assert [found.result()[0] for found in asked] == [200, 200]
        assert one.process.wait(60) in (0, -signal.SIGTERM)
        with pytest.raises(OSError):
            one.ask("GET", "/health")


def test_several_workers_count_together_and_a_killed_one_is_replaced(tmp_path):
    with running(tmp_path, str(SINGLE), "--workers", "2") as one:
        one.until(lambda: sum(line["event"] == "ready" for line in one.lines()) == 2)
        workers = {line["process"] for line in one.lines() if line["event"] == "ready"}
        assert len(workers) == 2
        for _ in range(20):
            one.predict("a")

        def counted() -> list[str]:
            return re.findall(r'imbik_requests_total\{path="/predict",status="200"\} (\d+)', one.ask("GET", "/metrics")[1])

        one.until(lambda: counted() == ["20"])  # a worker counts an answer after it has left
        os.kill(workers.pop(), signal.SIGKILL)
        one.until(lambda: sum(line["event"] == "ready" for line in one.lines()) == 3)
        one.until(lambda: one.predict("a"))


def test_workers_end_with_a_supervisor_that_was_killed(tmp_path):
    with running(tmp_path, str(SINGLE), "--workers", "2") as one:
        one.until(lambda: sum(line["event"] == "ready" for line in one.lines()) == 2)
        workers = {line["process"] for line in one.lines() if line["event"] == "ready"}
        one.process.kill()
        one.process.wait(60)
        deadline = time.monotonic() + 60
        while any(_alive(worker) for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(_alive(worker) for worker in workers), one.log.read_text()[-2000:]
        with pytest.raises(OSError):
            one.ask("GET", "/health")


def _alive(process: int) -> bool:
    """Return whether a process is there and does not merely wait to be collected."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text() if Path("/proc/self").exists() else not os.kill(process, 0)
    except OSError:
        return False


def test_what_cannot_be_served_is_one_message(tmp_path):
    def told(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-P", "-m", "imbik", "serve", *arguments], capture_output=True, text=True, timeout=100)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        return done.stderr

    assert "no-such" in told("no-such")
    assert "--tokens" in told(str(SINGLE), "--tokens", str(tmp_path / "none")) or "tokens" in told(str(SINGLE), "--tokens", "none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "--port" in told(str(SINGLE), "--port", str(taken.getsockname()[1]))


def test_a_module_of_the_working_folder_is_not_run(tmp_path):
    for name in ("numpy", "multiprocessing", "random", "starlette", "uvicorn"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with running(tmp_path, str(SINGLE), "--workers", "2", cwd=tmp_path) as one:
        assert one.predict("a")
    assert not (tmp_path / "ran").exists()
