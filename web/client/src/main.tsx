/** The client begins here: style, languages, providers, and the one decision of who sees what first (`App`). */

import "@mantine/core/styles.css";
import "./ui/tokens.css";
import "./ui/base.css";
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { isPassing } from "./api/problems.ts";
import { dress, useStation } from "./app/station.ts";
import { startLanguages } from "./i18n/i18n.ts";
import { App } from "./screens/App.tsx";
import { theme } from "./ui/theme.ts";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (failures, error) => isPassing(error) && failures < 2,
      staleTime: 10_000,
      refetchOnWindowFocus: true,
    },
  },
});

const station = useStation.getState();
dress(station);
await startLanguages(station.language);

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no root");
createRoot(root).render(
  <StrictMode>
    {/* No style element is ever inserted: variables stand in tokens.css, because the page's policy is style-src 'self'. */}
    <MantineProvider theme={theme} withCssVariables={false} withGlobalClasses={false} forceColorScheme="dark">
      <QueryClientProvider client={queries}>
        <App />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
