package org.panamoe.cli;

import org.panamoe.lab.placement.Eplb;
import org.panamoe.lab.placement.LocalSearch;
import org.panamoe.lab.placement.Placer;

/** Rules that place experts, by the names they have on the command line. */
enum PlacerOption {
    EPLB,
    SEARCH;

    Placer placer() {
        return switch (this) {
            case EPLB -> new Eplb();
            case SEARCH -> new LocalSearch();
        };
    }

    /** For a placement that is in use: the search stops where the fullest GPU is within 1 % of the mean. */
    Placer rebalancer() {
        return switch (this) {
            case EPLB -> new Eplb();
            case SEARCH -> new LocalSearch(0.01);
        };
    }
}
