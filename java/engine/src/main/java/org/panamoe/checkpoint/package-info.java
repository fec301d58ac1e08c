/** Published checkpoints: config.json and safetensors, mapped and checked. */
package org.panamoe.checkpoint;
