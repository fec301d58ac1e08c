/** DeepSeek-V2 and V3: routing, latent attention, experts, MTP. Knows no requests and no particular back end. */
package org.panamoe.model;
