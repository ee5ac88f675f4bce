"""What `./test --quick UNIT` runs: the tests that fail first when a unit is wrong.

Each takes half a minute once its simulators are in the cache; the whole test command proves more.
"""

QUICK: dict[str, list[str]] = {
    # hardware, on the smallest configuration
    "neuron": ["tests/units/test_neuron.py", "tests/units/test_neuron_cycles.py", "-k", "tiny"],
    "router": ["tests/units/test_router.py", "tests/units/test_fire_cycles.py",
               "-k", "tiny and router"],
    "synapse": ["tests/units/test_synapse.py", "tests/units/test_fire_cycles.py",
                "-k", "tiny and synapse"],
    "fire": ["tests/units/test_fire.py", "tests/units/test_encoder.py", "tests/units/test_norm.py",
             "-k", "tiny or norm"],
    "post": ["tests/units/test_post.py", "tests/units/test_post_cycles.py", "-k", "tiny"],
    "vector": ["tests/units/test_vector.py", "tests/units/test_vector_cycles.py", "-k", "tiny"],
    "functions": ["tests/units/test_functions.py", "tests/golden/test_functions.py"],
    "sequencer": ["tests/units/test_sequencer.py", "tests/units/test_sequencer_cycles.py",
                  "-k", "tiny"],
    "lib": ["tests/units/test_lib_queues.py", "tests/units/test_lib_small.py",
            "tests/hdl/test_pipeline.py"],
    "memory": ["tests/units/test_memories.py", "tests/units/test_rows.py", "-k", "tiny"],
    "link": ["tests/link/test_receiver.py", "tests/link/test_receiver_cycles.py",
             "tests/link/test_transmitter.py", "tests/link/test_transmitter_cycles.py",
             "tests/link/test_frame_link.py"],
    "sdram": ["tests/memory"],
    "device": ["tests/system/test_device.py", "-k", "tiny"],
    # results of earlier states of the tree: images, tokens, counters, cycles of `tiny`
    "results": ["tests/system/test_results.py"],
    # software
    "contract": ["tests/isa", "tests/test_imports.py"],
    "compiler": ["tests/host/test_assembly.py", "tests/system/test_golden_device.py",
                 "tests/system/test_schedules.py"],
    "golden": ["tests/golden/test_spiking.py", "tests/golden/test_quantised.py",
               "tests/golden/test_quantise.py", "tests/golden/test_arithmetic.py"],
    "checkpoint": ["tests/golden/test_checkpoint.py", "tests/golden/test_huggingface.py",
                   "tests/golden/test_tokenizer.py"],
    "training": ["tests/golden/test_training.py", "tests/golden/test_training_state.py"],
    "driver": ["tests/host/test_driver.py", "tests/host/test_session.py",
               "tests/host/test_transport.py"],
    "command": ["tests/host/test_cli_errors.py", "tests/host/test_cli_generate.py",
                "tests/host/test_cli_info.py"],
    "build": ["tests/host/test_floorplan.py", "tests/host/test_carries.py",
              "tests/host/test_equal_modules.py"],
    "documents": ["tests/isa/test_documentation.py", "tests/documents"],
}  # fmt: skip
