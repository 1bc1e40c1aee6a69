# Two commands do all the set-up: `make demo` and `make test`. Any Python from 3.11 to 3.13 will do: make PYTHON=python3.12 demo
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --no-compile
# pip installs and compiles on one core. What it has installed is compiled meanwhile on another, and the rest then on all
# of them, but for tests of libraries, and for parts of large libraries that nobody imports.
UNUSED := tests? testing/_internal physics moto pip setuptools mypyc? debugpy apprise beartype lexers skimage imageio \
	tifffile networkx graphql cfnlint pytorch_lightning lightning_fabric torchgen distutils onnxruntime/transformers \
	onnxruntime/quantization onnxruntime/tools sqlalchemy/testing dask/dataframe
COMPILE := $(BIN)/python -m compileall -q -x '/($(subst $(eval ) ,|,$(UNUSED)))/'
# Modules of packages that are complete: pip writes their list last.
INSTALLED := for list in .venv/lib/*/site-packages/*.dist-info/RECORD; do \
	sed -n "s|^\([^,]*\.py\),.*|$${list%/*/*}/\1|p" "$$list"; done
# Torch comes first and by itself: an open range would pull gigabytes of CUDA packages that most machines do not need.
TORCH := $(shell grep '^torch==' constraints.txt)
# Processes of the tests: one more than cores, for some tests wait.
BESIDE := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# Tests start many processes, and each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast test-loops check reference docs qgis clean

demo: .venv/installed
	$(BIN)/python -m pipeline.demo make demo
	$(BIN)/pipeline run --input demo/scene.tif --output demo/scene_mask.tif --overwrite
	$(BIN)/python -m pipeline.demo show demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -n $(BESIDE) --dist worksteal --durations=15

# All but what starts servers or QGIS, kills processes or takes long: two minutes on two cores.
test-fast: .venv/installed-dev
	$(BIN)/python -m pytest -n $(BESIDE) --dist worksteal \
		-m "not slow and not server and not kill and not qgis and not loop"

# More values of what `make test` tests with a few.
test-loops: .venv/installed-dev
	$(BIN)/python -m pytest -n $(BESIDE) --dist worksteal -m loop

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

reference: .venv/installed-dev
	$(BIN)/python docs/reference/make.py

docs: .venv/installed-docs
	$(BIN)/python docs/site/build.py build/site

# With WHEEL=pipeline.whl, the plugin brings the package along.
qgis:
	$(PYTHON) -m integrations.qgis.package build $(if $(WHEEL),--wheel $(WHEEL))

# The pip that comes with Python 3.11 takes several times as long to find out what is needed.
define set_up
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --upgrade pip || true
	@while kill -0 $$$$; do sleep 1; $(INSTALLED) | nice $(COMPILE) -i -; done > /dev/null 2>&1 & \
	$(INSTALL) $(TORCH) && $(INSTALL) -c constraints.txt -e $(1)
	$(COMPILE) -j 0 .venv/lib > /dev/null || true
endef

.venv/installed: pyproject.toml constraints.txt
	$(call set_up,.)
	touch $@

.venv/installed-dev: pyproject.toml constraints.txt
	$(call set_up,'.[dev]')
	touch .venv/installed $@

.venv/installed-docs: .venv/installed
	$(INSTALL) -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
