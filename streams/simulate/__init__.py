"""A firm that never was: four weeks of six systems, deterministic by seed, with a truth file to judge the pipeline by.

It knows the domain, not the product: nothing here imports the rules, the entities or the engine.
"""
