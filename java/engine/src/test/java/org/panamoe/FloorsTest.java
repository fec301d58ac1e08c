package org.panamoe;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The floors of the engine module: arrows point downward, and there are no circles. */
final class FloorsTest {
    private static final String HOUSE = "org.panamoe";

    private static final JavaClasses CLASSES = new ClassFileImporter()
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages(HOUSE);

    @ParameterizedTest
    @CsvSource({
        "tensor,     ''",
        "backend,    tensor",
        "checkpoint, tensor",
        "model,      backend checkpoint tensor",
        "engine,     model checkpoint tensor",
    })
    void aFloorKnowsOnlyWhatLiesBelow(String floor, String below) {
        var known = (floor + " " + below).strip().split(" ", -1);
        noClasses()
                .that()
                .resideInAPackage(HOUSE + "." + floor)
                .should()
                .dependOnClassesThat(describe(
                        "are of another floor than " + Arrays.toString(known),
                        (JavaClass c) -> c.getPackageName().startsWith(HOUSE + ".")
                                && Arrays.stream(known)
                                        .noneMatch(k -> c.getPackageName().equals(HOUSE + "." + k))))
                .allowEmptyShould(true)
                .check(CLASSES);
    }

    @Test
    void theEngineDoesNotKnowMemory() {
        noClasses()
                .that()
                .resideInAPackage(HOUSE + ".engine")
                .should()
                .dependOnClassesThat()
                .areAssignableTo(MemorySegment.class)
                .allowEmptyShould(true)
                .check(CLASSES);
    }

    @Test
    void thereAreNoCircles() {
        slices().matching(HOUSE + ".(*)..").should().beFreeOfCycles().check(CLASSES);
    }

    @Test
    void allClassesWereRead() {
        assertThat(CLASSES).anyMatch(c -> c.getSimpleName().equals("Tensor"));
        assertThat(CLASSES).anyMatch(c -> c.getSimpleName().equals("NativeKernels"));
    }
}
