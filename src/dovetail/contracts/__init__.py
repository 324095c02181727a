"""Contracts of messages: schemas by name and version."""

from dovetail.contracts.contract import Contract, ContractError, Violation, parse_ref

__all__ = ["Contract", "ContractError", "Violation", "parse_ref"]
