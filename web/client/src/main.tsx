/** The client begins here: style, languages, providers, and the one decision of who sees what first (`App`). */

import "@mantine/core/styles.css";
import "./ui/tokens.css";
import "./ui/base.css";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { isPassing } from "./api/problems.ts";
import { dress, useStation } from "./app/station.ts";
import { startLanguages } from "./i18n/i18n.ts";
import { App } from "./screens/App.tsx";

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
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
