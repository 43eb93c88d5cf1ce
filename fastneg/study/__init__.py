"""The study: does the method work?

- plan: sizes, stages and arms; how a dose is chosen
- statistics: paired differences over seeds, intervals, Holm's correction, power
- verdict: from the figures of runs to one of five words, by rules that stand before the runs
"""
