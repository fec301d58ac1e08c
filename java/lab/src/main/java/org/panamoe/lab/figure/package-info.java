/** Results of the lab as charts and tables of a page. */
package org.panamoe.lab.figure;
