.PHONY: setup test check bench lock

setup:
	./dev setup

test:
	./dev test

check:
	./dev check

bench:
	./dev bench

# The locks of the examples, at today's versions.
lock:
	./dev flyte-build lock examples/af2/main.py --upgrade
