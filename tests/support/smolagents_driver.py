"""Runs a smolagents CodeAgent on one task: the model's Python is executed inside this very process.

Run by the tests with the interpreter of the folder that smolagents was installed into; it never imports anything of the guard.
"""

import os
import sys

from smolagents import CodeAgent, OpenAIModel

model = OpenAIModel("scripted", api_base=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
agent = CodeAgent(tools=[], model=model, additional_authorized_imports=["*"], max_steps=20)
agent.run(sys.argv[1])
