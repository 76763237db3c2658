/** Icons, drawn here: a 20 px grid, one stroke. Always beside a word, so hidden from readers. */

const PATHS = {
  eye: "M1.5 10S4.5 4.5 10 4.5 18.5 10 18.5 10 15.5 15.5 10 15.5 1.5 10 1.5 10ZM10 7.500a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5ZM10 1v2M10 17v2",
  live: "M2.5 3.500h15v13h-15zM10 3.500v13M2.5 10h15",
  camera: "M2 6h11v8H2zM13 9l5-2.500v7L13 11",
  health: "M1.5 10h4l2-5 4 10 2.5-5h4.5",
  people:
    "M7.5 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM2 16.500c0-3 2.5-4.5 5.5-4.500s5.5 1.5 5.5 4.500M13.5 4a3 3 0 0 1 0 5.200M15 12.300c2 .5 3 2 3 4.2",
  audit: "M4 2.500h9l3 3v12H4zM7 8h6M7 11h6M7 14h4",
  account: "M10 9.500a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM3.5 17.500c0-3.5 3-5.5 6.5-5.500s6.5 2 6.5 5.5",
  about: "M10 2.500a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15ZM10 9v5M10 6v.8",
  find: "M8.5 3a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM12.5 12.500L17 17",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.4"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
