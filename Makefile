# `make demo` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test slow lint figures clean

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/test-installed: $(VENV)/installed tests/requirements.txt
	$(RUN) -m pip install --quiet --requirement tests/requirements.txt
	touch $@

demo: $(VENV)/installed
	$(RUN) src/eval_qmg.py --GT --gtdata sample --quality 10 --save demo

test: $(VENV)/test-installed
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pytest -n 2

slow: $(VENV)/test-installed
	$(RUN) -m pytest -m slow

figures: $(VENV)/test-installed
	$(RUN) src/paper.py figures -o figs/qmap.png

clean:
	rm -rf $(VENV) results/demo
