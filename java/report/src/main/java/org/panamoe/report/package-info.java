/** Self-contained HTML pages with charts and the tables behind them. */
package org.panamoe.report;
