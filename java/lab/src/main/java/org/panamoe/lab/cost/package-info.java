/** What imbalance costs, and what training and serving cost: in seconds and in money, each number a parameter. */
package org.panamoe.lab.cost;
