"""Calls into the thread of an event loop."""

import asyncio
import threading

from wirewright.model.event_loops import call_in_loop


def test_function_is_called_in_the_thread_of_the_loop() -> None:
    called: list[threading.Thread] = []

    def note() -> None:
        called.append(threading.current_thread())

    async def main() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        call_in_loop(loop, note)
        assert len(called) == 1
        await asyncio.to_thread(call_in_loop, loop, note)
        await asyncio.sleep(0)
        return loop

    closed = asyncio.run(main())
    assert called == [threading.current_thread()] * 2
    call_in_loop(closed, note)
    assert len(called) == 2
