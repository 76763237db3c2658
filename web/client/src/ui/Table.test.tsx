import { fireEvent, screen } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";
import { Problem } from "../api/problems.ts";
import { onStage, useStage } from "./onStage.tsx";
import { Listed, Table } from "./Table.tsx";

const IDLE = {
  isPending: false,
  isError: false,
  error: null as unknown,
  data: undefined as unknown,
  refetch: () => undefined,
};
const COLUMNS = [
  { head: "Nr", render: (n: number) => n },
  { head: "Zakończ", bare: true, look: "end", render: (n: number) => <button type="button">zakończ {n}</button> },
];
const EMPTY = <p>nie ma nic</p>;

function list(query: Partial<typeof IDLE>, items: readonly number[] = []) {
  return onStage(
    <Listed query={{ ...IDLE, ...query }} items={items} empty={EMPTY}>
      <Table columns={COLUMNS} items={items} keyOf={(n) => n} caption="liczby" chosen={(n) => n === 2} />
    </Listed>,
  );
}

describe("a list", () => {
  useStage();

  it("says that it comes", () => {
    list({ isPending: true });
    expect(screen.getByRole("status").textContent).toBe("Wczytuję…");
    expect(screen.queryByText("nie ma nic")).toBeNull();
  });

  it("says why it did not come, what that means, and asks again when told to", () => {
    const refetch = vi.fn<() => undefined>();
    list({ isError: true, error: new Problem(503, { code: "catalogue_away" }), refetch });
    expect(screen.getByRole("alert").textContent).toContain("baza danych nie odpowiada");
    expect(screen.getByRole("alert").textContent).toContain("To zwykle mija.");
    fireEvent.click(screen.getByRole("button", { name: "Spróbuj ponownie" }));
    expect(refetch).toHaveBeenCalledOnce();
  });

  it("stays where it could not be had anew", () => {
    list({ isError: true, error: new Problem(503, { code: "catalogue_away" }), data: [1, 2] }, [1, 2]);
    expect(screen.getByRole("table", { name: "liczby" })).toBeTruthy();
    expect(screen.queryByRole("alert")).toBeNull();
  });

  it("says that one has no right to it, and offers no second try", () => {
    list({ isError: true, error: new Problem(403, { code: "forbidden" }) });
    expect(screen.getByRole("alert").textContent).toContain("Nie masz prawa do tego ekranu.");
    expect(screen.queryByRole("button")).toBeNull();
  });

  it("says that there is nothing in it", () => {
    list({});
    expect(screen.getByText("nie ma nic")).toBeTruthy();
    expect(screen.queryByRole("table")).toBeNull();
  });

  it("is a table with a name, heads for readers too, and one row chosen", () => {
    const { container } = list({}, [1, 2]);
    expect(screen.getByRole("table", { name: "liczby" })).toBeTruthy();
    expect(screen.getAllByRole("columnheader").map((head) => head.textContent)).toEqual(["Nr", "Zakończ"]);
    expect(container.querySelectorAll("tbody tr").length).toBe(2);
    expect(container.querySelector("tr.chosen")?.textContent).toContain("zakończ 2");
  });
});
