package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every mistake of a user's is one line that names what is wrong, and an exit code. */
class BadInputTest {
    private static final int FAILED = 1, MISUSED = 2;
    private static final Path ROOT = Path.of(System.getProperty("panamoe.root"));

    @TempDir
    private Path folder;

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    ''                                         | Missing required subcommand
                    sing                                       | 'sing'
                    generate                                   | PROMPT or --tokens
                    generate Once --tokens 1                   | PROMPT or --tokens
                    generate Once upon                         | 'upon'
                    generate Once --color                      | '--color'
                    generate --tokens 1 --chat                 | --chat
                    generate --tokens 1 --stop x               | --stop
                    generate --tokens 1,x                      | --tokens
                    generate --tokens 1,,2                     | --tokens
                    generate --tokens 99999999999              | 99999999999
                    generate Once --max-tokens 0               | --max-tokens 0
                    generate Once --max-tokens many            | --max-tokens
                    generate Once --max-tokens                 | --max-tokens
                    generate Once --temperature -1             | temperature -1.0
                    generate Once --temperature NaN            | temperature NaN
                    generate Once --temperature warm           | --temperature
                    generate Once --top-p 0                    | top-p 0.0
                    generate Once --top-p 1.1                  | top-p 1.1
                    generate Once --top-k -1                   | top-k -1
                    generate Once --seed one                   | --seed
                    generate Once --drafts -1                  | --drafts -1
                    generate Once --backend gpu                | cpu, cuda, cudaemu, reference
                    generate Once --threads 0                  | --threads 0
                    generate Once --threads 2 --backend reference | --threads
                    logits --output x.npy                      | --tokens
                    logits --tokens 1                          | --output
                    logits --tokens 1 --output x --backend gpu | cpu, cuda, cudaemu, reference
                    trace --output x.safetensors               | --tokens
                    trace --output x --tokens 1 --file y       | mutually exclusive
                    perplexity                                 | --file
                    perplexity --file x --threads -3           | --threads -3
                    """)
    void whatNoModelCouldDoIsMisuse(String line, String named) {
        String[] args = line.isEmpty() ? new String[0] : line.split(" +");
        assertThat(Run.refusal(MISUSED, args)).contains(named).contains("--help");
    }

    @Test
    void emptyStopStringsAndPrompts() {
        assertThat(Run.refusal(MISUSED, "generate", "Once", "--stop", "")).contains("--stop");
        assertThat(Run.refusal(FAILED, "generate", "")).contains("the prompt is empty");
    }

    @Test
    void aPromptLongerThanTheContext() {
        assertThat(Run.refusal(FAILED, "generate", "dog ".repeat(600))).contains("prompt", "512");
        assertThat(Run.refusal(FAILED, "generate", "--tokens", "5" + ",5".repeat(511)))
                .contains("512");
        assertThat(Run.refusal(FAILED, "logits", "--tokens", "5" + ",5".repeat(512), "--output", file("x.npy")))
                .contains("513", "max_position_embeddings 512");
        assertThat(Run.refusal(FAILED, "trace", "--tokens", "5" + ",5".repeat(512), "--output", file("x.safetensors")))
                .contains("513", "max_position_embeddings 512");
        assertThat(folder).isEmptyDirectory();
    }

    @ParameterizedTest
    @ValueSource(strings = {"2048", "-1"})
    void aTokenOutsideTheVocabulary(String token) {
        assertThat(Run.refusal(FAILED, "generate", "--tokens=5," + token)).contains(token, "2048");
        assertThat(Run.refusal(FAILED, "logits", "--tokens=5," + token, "--output", file("x.npy")))
                .contains(token);
        assertThat(Run.refusal(FAILED, "trace", "--tokens=5," + token, "--output", file("x")))
                .contains(token);
        assertThat(folder).isEmptyDirectory();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "generate Once",
                "generate --tokens 1",
                "perplexity --file x",
                "inspect",
                "logits --tokens 1 --output x",
                "trace --tokens 1 --output x"
            })
    void aModelThatIsNotThere(String line) throws IOException {
        String[] there = (line + " --model " + folder).split(" ");
        assertThat(Run.refusal(FAILED, there)).contains(folder.toString(), "config.json");
        String[] nowhere = (line + " --model " + folder.resolve("nowhere")).split(" ");
        assertThat(Run.refusal(FAILED, nowhere))
                .contains(folder.resolve("nowhere").toString(), "no such folder");
        var plain = Files.writeString(folder.resolve("plain"), "x");
        String[] file = (line + " --model " + plain).split(" ");
        assertThat(Run.refusal(FAILED, file)).contains(plain.toString(), "not a folder");
        Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"llama\"}");
        assertThat(Run.refusal(FAILED, there)).contains("config.json", "model_type", "llama");
    }

    @Test
    void aPromptForAModelWithoutTokenizer() throws IOException {
        copy("config.json", "model.safetensors");
        assertThat(Run.refusal(FAILED, "generate", "Once", "--model", folder.toString()))
                .contains("tokenizer.json");
        assertThat(Run.refusal(FAILED, "perplexity", "--file", "x", "--model", folder.toString()))
                .contains("tokenizer.json");
        Run.good("generate", "--tokens", "0,54", "--max-tokens", "2", "--model", folder.toString());
    }

    @Test
    void chatWithAModelThatHasNoFormat() throws IOException {
        copy("config.json", "model.safetensors", "tokenizer.json");
        assertThat(Run.refusal(FAILED, "generate", "Once", "--chat", "--model", folder.toString()))
                .contains("chat_template");
    }

    @Test
    void draftsOfAModelWithoutMtp() {
        String model = ROOT.resolve("java/engine/src/test/golden/v3-tiny-fp32").toString();
        assertThat(Run.refusal(FAILED, "generate", "--tokens", "1", "--drafts", "1", "--model", model))
                .contains("drafts 1", "no MTP module");
        assertThat(Run.refusal(FAILED, "logits", "--mtp", "--tokens", "1,2", "--output", file("x"), "--model", model))
                .contains("no MTP module");
        assertThat(Run.refusal(FAILED, "logits", "--mtp", "--tokens", "1", "--output", file("x")))
                .contains("--mtp");
        assertThat(folder).isEmptyDirectory();
        Run.good("generate", "--tokens", "1", "--max-tokens", "2", "--model", model);
    }

    @Test
    void textsThatCannotBeRead() throws IOException {
        for (String command : List.of("perplexity", "trace --output " + file("trace"))) {
            assertThat(refusalOfFile(command, "nowhere")).contains("nowhere", "no such file");
            assertThat(refusalOfFile(command, ".")).contains("is a folder");
            Files.writeString(folder.resolve("empty"), "");
            assertThat(refusalOfFile(command, "empty")).contains("empty", "the text is empty");
            Files.write(folder.resolve("latin1"), new byte[] {'a', (byte) 0xe9});
            assertThat(refusalOfFile(command, "latin1")).contains("latin1", "not UTF-8");
        }
        assertThat(folder.resolve("trace")).doesNotExist();
    }

    private String refusalOfFile(String command, String name) {
        return Run.refusal(FAILED, (command + " --file " + folder.resolve(name)).split(" "));
    }

    @Test
    void outputsThatCannotBeWritten() {
        for (String command : List.of("logits", "trace")) {
            String nowhere = file("nowhere/x");
            assertThat(Run.refusal(FAILED, command, "--tokens", "1,2", "--output", nowhere))
                    .contains(nowhere);
            assertThat(Run.refusal(FAILED, command, "--tokens", "1,2", "--output", folder.toString()))
                    .contains(folder.toString());
        }
        assertThat(folder).isEmptyDirectory();
    }

    @Test
    void aFullDisk() {
        assumeTrue(Files.exists(Path.of("/dev/full")), "this system has no /dev/full");
        for (String command : List.of("logits", "trace"))
            assertThat(Run.refusal(FAILED, command, "--tokens", "1,2", "--output", "/dev/full"))
                    .contains("/dev/full", "No space left on device");
        assertThat(Path.of("/dev/full")).exists();
    }

    @Test
    void verboseSaysWhere() {
        var run = Run.of("generate", "", "--verbose");
        assertThat(run.code()).isEqualTo(FAILED);
        assertThat(run.err()).startsWith("panamoe: the prompt is empty\n").contains("GenerateCommand.java");
    }

    private String file(String name) {
        return folder.resolve(name).toString();
    }

    private void copy(String... names) throws IOException {
        for (String name : names) Files.copy(ModelOption.embedded().resolve(name), folder.resolve(name));
    }
}
