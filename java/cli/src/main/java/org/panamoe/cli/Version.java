package org.panamoe.cli;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.Properties;
import picocli.CommandLine.IVersionProvider;

/** The version that the build wrote. */
final class Version implements IVersionProvider {
    private static final String RESOURCE = "/META-INF/panamoe/cli.properties";

    @Override
    public String[] getVersion() throws IOException {
        try (var in = Version.class.getResourceAsStream(RESOURCE)) {
            if (in == null) throw new FileNotFoundException("there is no " + RESOURCE + " on the class path");
            var properties = new Properties();
            properties.load(in);
            return new String[] {"panamoe " + properties.getProperty("version")};
        }
    }
}
