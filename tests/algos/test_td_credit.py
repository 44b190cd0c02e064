"""Weight and credit of transitions: how composite learners change the terms of the TD error."""

import jax.numpy as jnp
import numpy as np

from marlx.algos.td_credit import apply_credit, apply_weight, credit_of_value
from marlx.algos.td_equations import TDTerms
from marlx.types import Credit


def column(*numbers, dtype=jnp.float32):
    """One window of so many steps, [T, 1]."""
    return jnp.asarray(numbers, dtype)[:, None]


TERMS = TDTerms(column(1, 1, 1), column(0.9, 0.9, 0.9), column(0, 0, 0, dtype=bool), 0.5,
                jnp.ones((3, 1)))  # fmt: skip


def test_steps_of_weight_zero_are_masked_and_weights_are_no_factor():
    found = apply_weight(TERMS, column(2, 0, 0.5))
    np.testing.assert_array_equal(found.mask[:, 0], [1, 0, 1])
    per_agent = TERMS._replace(mask=jnp.ones((3, 1, 2)))
    np.testing.assert_array_equal(apply_weight(per_agent, column(2, 0, 1)).mask[1, 0], [0, 0])


def two_agents(weight, terminated, ended, held):
    """Credit of three steps of two agents."""
    flags = (jnp.asarray(x, bool)[:, None] for x in (terminated, ended, held))
    return Credit(jnp.asarray(weight, jnp.float32)[:, None], *flags)


CREDIT = two_agents(
    weight=[[1, 0], [0, 1], [0, 0]],
    terminated=[[0, 0], [0, 0], [0, 1]],
    ended=[[0, 0], [0, 0], [0, 1]],
    held=[[1, 1], [1, 0], [1, 1]],
)


def test_a_team_value_is_learned_where_any_agents_choice_is_and_held_while_all_are():
    team = credit_of_value(CREDIT, False)
    np.testing.assert_array_equal(team.weight[:, 0], [1, 1, 0])
    np.testing.assert_array_equal(team.terminated[:, 0], [0, 0, 1])
    np.testing.assert_array_equal(team.held[:, 0], [1, 0, 1])
    assert credit_of_value(CREDIT, True) is CREDIT
    for independent, expected in ((True, CREDIT.held), (False, team.held[..., None])):
        found = credit_of_value(CREDIT, jnp.asarray(independent))  # as while mixing is delayed
        np.testing.assert_array_equal(found.held, jnp.broadcast_to(expected, (3, 1, 2)))


def test_credit_sets_ends_and_traces_and_masks_choices_whose_end_is_not_seen():
    """The first agent's choice goes on beyond the window, the second's ends at steps 1 and 2."""
    terms = TERMS._replace(mask=jnp.ones((3, 1, 2)))
    found = apply_credit(terms, CREDIT, True, 0.9, 0.5)
    np.testing.assert_array_equal(found.mask[:, 0], [[0, 0], [0, 1], [0, 0]])
    np.testing.assert_allclose(found.discount[:, 0], [[0.9, 0.9], [0.9, 0.9], [0.9, 0]])
    np.testing.assert_allclose(found.trace[:, 0], [[1, 1], [1, 0.5], [1, 1]])
    np.testing.assert_array_equal(found.ended, CREDIT.ended)
