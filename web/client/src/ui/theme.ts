/** Mantine in our hands: what it draws is coloured by our names (`tokens.css`), nothing of it moves or casts shadows. */

import { createTheme, Modal } from "@mantine/core";

export const theme = createTheme({
  fontFamily: "var(--font)",
  defaultRadius: 3,
  focusRing: "never", // ours, in base.css
  components: {
    // Locking the page's scroll would insert a style element, which the page's policy refuses.
    Modal: Modal.extend({ defaultProps: { lockScroll: false, transitionProps: { duration: 0 }, centered: true } }),
  },
});
