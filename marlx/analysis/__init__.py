"""Analysis of finished runs: comparisons, figures, reports and checks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.analysis import attack_results as attack_results
    from marlx.analysis import attacks as attacks
    from marlx.analysis import comparison as comparison
    from marlx.analysis import cross_play as cross_play
    from marlx.analysis import doctor as doctor
    from marlx.analysis import doctor_findings as doctor_findings
    from marlx.analysis import doctor_learning as doctor_learning
    from marlx.analysis import doctor_numbers as doctor_numbers
    from marlx.analysis import doctor_outcome as doctor_outcome
    from marlx.analysis import doctor_settings as doctor_settings
    from marlx.analysis import embeddings as embeddings
    from marlx.analysis import html as html
    from marlx.analysis import languages as languages
    from marlx.analysis import make_rows as make_rows
    from marlx.analysis import marl_eval as marl_eval
    from marlx.analysis import perturbations as perturbations
    from marlx.analysis import plots as plots
    from marlx.analysis import protocol_cards as protocol_cards
    from marlx.analysis import protocol_checks as protocol_checks
    from marlx.analysis import protocol_rows as protocol_rows
    from marlx.analysis import protocol_runs as protocol_runs
    from marlx.analysis import protocol_tables as protocol_tables
    from marlx.analysis import reading as reading
    from marlx.analysis import report as report
    from marlx.analysis import report_runs as report_runs
    from marlx.analysis import reproduction as reproduction
    from marlx.analysis import result_rows as result_rows
    from marlx.analysis import run_data as run_data
    from marlx.analysis import scores as scores
    from marlx.analysis import video as video
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
