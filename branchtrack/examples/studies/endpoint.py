"""A scripted endpoint: a rule that answers over HTTP as an OpenAI-compatible model would.

It stands in where no language model is at hand, and shows the path and not what a model can do. It
knows nothing but the question: the same figures that a model is sent.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted endpoint"
#: How a goal says what is allowed, after which come the moves.
ALLOWED = "Allowed moves:"
#: A loss that is higher than the lowest by this share of it has diverged.
_DIVERGED = 0.10
#: Relative falls of the loss between two evaluations: below the first it has stopped, and between
#: the other two it falls so evenly that a higher rate may be quicker.
_STOPPED, _SLOW, _FAST = 0.005, 0.02, 0.04
#: The share of its first loss below which a training from scratch has taken off.
_TAKEN_OFF = 0.57
#: What the rate is multiplied with.
_HALF, _TWICE, _QUARTER = 0.5, 2.0, 0.25
_CHARACTERS = 4

Answer = dict[str, Any]


def decide(question: Mapping[str, Any]) -> Answer:
    """Return the decision about a run, from what a prompt says of it."""
    moves = moves_of(str(question.get("goal", "")))
    losses = evaluations(question)
    lr = (question.get("settings") or {}).get("lr", {}).get("value")
    if len(losses) < 2 or not isinstance(lr, int | float):
        return {"action": "nothing", "reason": "There is too little to see yet."}
    trouble = _trouble(losses)
    if trouble:
        return _lower(question, moves, float(lr), trouble, losses)
    fall = _fall(losses)
    if "double" in moves and _SLOW < fall < _FAST and not _was_lowered(question):
        reason = f"The held-out loss falls evenly, by {fall:.1%}: twice the rate may be quicker."
        return {"action": "set", "values": {"lr": _rounded(lr * _TWICE)}, "reason": reason}
    return {"action": "nothing", "reason": f"The held-out loss falls, by {fall:.1%}."}


def moves_of(goal: str) -> set[str]:
    """Return the moves that a goal allows: keep, double, halve, branch, restart."""
    _, mark, words = goal.partition(ALLOWED)
    listed = words.partition(".")[0].replace(",", " ").split()
    return set(listed) if mark else {"keep", "double", "halve"}


def evaluations(question: Mapping[str, Any]) -> list[float]:
    """Return the held-out losses of the branch, oldest first; what is no number is infinite."""
    points = (question.get("curves") or {}).get("eval_loss") or []
    values = [float(value) for _step, value in points]
    return [value if math.isfinite(value) else math.inf for value in values]


def _fall(losses: Sequence[float]) -> float:
    return (losses[-2] - losses[-1]) / losses[-2] if math.isfinite(losses[-2]) else 0.0


def _trouble(losses: Sequence[float]) -> str:
    """Return what is wrong with the newest loss; empty if nothing is."""
    newest, lowest = losses[-1], min(losses)
    if not math.isfinite(newest) or newest > lowest * (1 + _DIVERGED):
        return f"The held-out loss rose from {lowest:.4g} to {newest:.4g}."
    if _fall(losses) < _STOPPED:
        return f"The held-out loss has stopped at {newest:.4g}."
    return ""


def _lower(
    question: Mapping[str, Any], moves: set[str], lr: float, why: str, losses: Sequence[float]
) -> Answer:
    """Return how to go on with a lower rate: from scratch, from an earlier node, or from here."""
    nodes = [node for node in question.get("nodes") or [] if _loss(node) is not None]
    has_taken_off = min(losses) < _TAKEN_OFF * losses[0]
    root = min(question.get("nodes") or [], key=lambda node: node["step"], default=None)
    if root is not None and "restart" in moves:
        return _rollback(root, lr * (_HALF if has_taken_off else _QUARTER), why)
    if root is not None and "branch" in moves:
        if not has_taken_off:
            return _rollback(root, lr * _QUARTER, f"{why} It has never taken off.")
        best = min(nodes, key=lambda node: float(_loss(node) or 0.0), default=None)
        if best is not None and min(losses) < losses[-1]:
            return _rollback(best, lr * _HALF, why)
    if "halve" in moves:
        return {"action": "set", "values": {"lr": _rounded(lr * _HALF)}, "reason": why}
    return {"action": "nothing", "reason": why}


def _rollback(node: Mapping[str, Any], lr: float, why: str) -> Answer:
    reason = f"{why} On from step {node['step']} with a lower rate."
    values = {"lr": _rounded(lr)}
    return {"action": "rollback", "node": node["id"], "values": values, "reason": reason}


def _loss(node: Mapping[str, Any]) -> float | None:
    value = (node.get("metrics") or {}).get("eval_loss")
    return float(value) if value is not None and math.isfinite(float(value)) else None


def _was_lowered(question: Mapping[str, Any]) -> bool:
    """Return whether the branch began with a lower rate, or was given one."""
    return any(tried.get("kind") in ("set", "rewind") for tried in question.get("tried_here") or [])


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def completion(body: Mapping[str, Any], rule: Callable[[Mapping[str, Any]], Answer]) -> Answer:
    """Return the body of a chat completion that answers a request."""
    messages = body["messages"]
    text = json.dumps(rule(json.loads(messages[-1]["content"])))
    length = sum(len(message["content"]) for message in messages)
    return {
        "object": "chat.completion",
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        # It has no tokenizer: what a model would count is about this.
        "usage": {
            "prompt_tokens": -(-length // _CHARACTERS),
            "completion_tokens": -(-len(text) // _CHARACTERS),
        },
    }


@contextmanager
def serving(rule: Callable[[Mapping[str, Any]], Answer] = decide) -> Iterator[str]:
    """Answer questions while the block runs; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(rule))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(rule: Callable[[Mapping[str, Any]], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status, answer = 200, completion(json.loads(body), rule)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                status, answer = 400, {"error": {"message": f"{type(error).__name__}: {error}"}}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    return Handler
