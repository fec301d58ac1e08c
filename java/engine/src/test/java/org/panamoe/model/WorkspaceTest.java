package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.ModelConfig.TopkMethod;

final class WorkspaceTest {
    /** Where memory ended while buffers grew, those of them that grew later are looked up anew. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4})
    void routesAreInTheBuffersOfNow(int granted) {
        var config = Configs.router(TopkMethod.NOAUX_TC, 8, 2, 2, 1, true, 1);
        var left = new AtomicInteger(Integer.MAX_VALUE);
        try (var kernels = Backend.require("reference");
                var workspace = new Workspace(limited(kernels, left), config)) {
            workspace.routes(40);
            left.set(granted);
            for (int T : new int[] {40, 8}) workspace.routes(T);
            // The offsets, one for each expert, are as many as before.
            if (granted < 4) assertThatThrownBy(() -> workspace.routes(100)).hasMessage("out of memory");
            left.set(Integer.MAX_VALUE);
            for (int T : new int[] {8, 10, 8, 100, 10, 8}) {
                var routes = workspace.routes(T);
                assertThat(routes.expert_TK()).isSameAs(workspace.expert_TK.rows(T));
                assertThat(routes.share_TK()).isSameAs(workspace.share_TK.rows(T));
                assertThat(routes.offset_E1()).isSameAs(workspace.offset_E1.rows(9));
                assertThat(routes.token_N()).isSameAs(workspace.token_N.rows(2 * T));
                assertThat(routes.weight_N()).isSameAs(workspace.weight_N.rows(2 * T));
            }
        }
    }

    /** These kernels, but there is memory for {@code left} tensors alone. */
    private static Kernels limited(Kernels kernels, AtomicInteger left) {
        return (Kernels) Proxy.newProxyInstance(
                Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("allocate") && left.getAndDecrement() <= 0)
                        throw new IllegalStateException("out of memory");
                    try {
                        return method.invoke(kernels, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }
}
