package org.panamoe.lab.placement;

/** A rule that places replicas of experts. It is deterministic. */
public interface Placer {
    /** A placement for these loads, whatever there was before. */
    Placement place(PlacementCase c);

    /** A placement for these loads, where moving from {@code now} costs: by default that is not looked at. */
    default Placement place(PlacementCase c, Placement now) {
        return place(c);
    }
}
