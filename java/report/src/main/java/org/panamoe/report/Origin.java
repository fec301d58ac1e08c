package org.panamoe.report;

/**
 * What made a page: whoever runs the command again gets the page again.
 *
 * @param command as it was typed
 * @param seed as text, for there may be several; "none" where nothing is random
 * @param version of the program
 */
public record Origin(String command, String seed, String version) {}
