"""What a process tells of itself to those who watch it: figures (`measures`) and spans (`tracing`).

Neither holds text or keys. Figures hold nothing by which customers could be told apart; spans hold ids.
"""
