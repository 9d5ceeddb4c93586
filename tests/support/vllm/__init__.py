"""Real vLLM servers on the CPU, for the tests marked ``vllm``.

Belongs here: building the environment they run in (``recipe``), starting and ending them (``servers``). Does not belong here: what is asked
of them. A newcomer would get wrong: nothing of this is ever shipped. The stand-ins for NVIDIA's libraries end the process when they are
called, which is right for a test machine without a GPU and for nothing else.
"""
