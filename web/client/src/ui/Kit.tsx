/** Mantine in our hands: what it draws is coloured by our names (`tokens.css`), nothing of it moves or casts shadows. */

import { createTheme, MantineProvider, Modal } from "@mantine/core";
import type { ReactNode } from "react";

const kit = createTheme({
  fontFamily: "var(--font)",
  defaultRadius: 3,
  focusRing: "never", // ours, in base.css
  components: {
    // Locking the page's scroll would insert a style element, which the page's policy refuses.
    Modal: Modal.extend({ defaultProps: { lockScroll: false, transitionProps: { duration: 0 }, centered: true } }),
  },
});

/** No style element is ever inserted: variables stand in tokens.css, because the page's policy is `style-src 'self'`. */
export function Kit({ dark, children }: { dark: boolean; children: ReactNode }) {
  return (
    <MantineProvider
      theme={kit}
      withCssVariables={false}
      withGlobalClasses={false}
      forceColorScheme={dark ? "dark" : "light"}
    >
      {children}
    </MantineProvider>
  );
}
