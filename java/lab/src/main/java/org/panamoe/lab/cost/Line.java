package org.panamoe.lab.cost;

/**
 * One line of an account.
 *
 * @param formula with its numbers: whoever doubts the value can work it out
 */
public record Line(String name, double value, String unit, String formula) {}
