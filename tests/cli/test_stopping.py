"""Signals while compiled code, or the compiler, keeps the main thread from running Python."""

import subprocess
import sys
import threading

import pytest

from marlx.cli.stopping import stoppable

CODE = """
import ctypes, os, signal, sys, threading, time
from marlx.cli.stopping import stoppable

say = lambda word: print(word, flush=True)
with stoppable(lambda: say("first"), {leaving}) as stop:
    stop.patient = {patient}
    say("ready")
    pthread = ctypes.CDLL(None)
    while True:
        pthread.sleep(1)  # C restarts it; Python's handlers run in between at most
"""


def start(patient, leaving="lambda: say('leaving')"):
    code = CODE.format(patient=patient, leaving=leaving)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "ready"
    return process


@pytest.mark.parametrize("number", [2, 15])
def test_while_compiling_the_first_signal_leaves_at_once(number):
    with start(patient=False) as process:
        process.send_signal(number)
        assert process.stdout.readline().strip() == "leaving"
        assert process.wait(60) == 128 + number


def test_while_training_the_second_one_does():
    with start(patient=True) as process:
        process.send_signal(2)
        assert process.stdout.readline().strip() == "first"
        process.send_signal(2)
        assert process.stdout.readline().strip() == "leaving"
        assert process.wait(60) == 130


@pytest.mark.parametrize("leaving", ["lambda: time.sleep(600)", "lambda: 1 / 0"])
def test_last_words_that_cannot_be_said_keep_nobody(leaving):
    with start(patient=False, leaving=leaving) as process:
        process.send_signal(15)
        assert process.wait(60) == 143


def test_in_another_thread_there_are_no_signals_to_handle():
    seen = []

    def work():
        with stoppable(lambda: None, lambda: None) as stop:
            seen.append(stop.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]
