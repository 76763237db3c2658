/** One box to find a camera: number, name, street, in any letters. Enter to the spot tile, Shift+Enter to a free one. */

import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Camera } from "../../api/model.ts";
import { useCameras, useCamerasNow } from "../../app/cameras.ts";
import { find } from "../../wall/search.ts";
import { CameraState } from "../../ui/CameraState.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { cameraNumber } from "../../ui/words.ts";

export const FIND_BOX = "find-a-camera";

export function Find({ choose }: { choose: (camera: Camera, toFree: boolean) => void }) {
  const { t } = useTranslation();
  const cameras = useCameras();
  const camerasNow = useCamerasNow();
  const listId = useId();
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const found = open ? find(camerasNow, text) : [];
  const shown = Math.min(at, Math.max(0, found.length - 1));
  const take = (camera: Camera | undefined, toFree: boolean) => {
    if (!camera) return;
    choose(camera, toFree);
    setText("");
    setOpen(false);
    (document.activeElement as HTMLElement | null)?.blur();
  };
  return (
    <div className="find">
      <div className="find__box">
        <Icon name="find" size={14} />
        <input
          id={FIND_BOX}
          role="combobox"
          aria-label={t("find.label")}
          aria-expanded={open}
          aria-controls={listId}
          aria-autocomplete="list"
          aria-activedescendant={open && found[shown] ? `${listId}-${shown}` : undefined}
          placeholder={t("find.placeholder")}
          autoComplete="off"
          value={text}
          onFocus={() => setOpen(true)}
          onBlur={() => setOpen(false)}
          onChange={(event) => {
            setText(event.target.value);
            setAt(0);
            setOpen(true);
          }}
          onKeyDown={(event) => {
            if (event.key === "ArrowDown") setAt(Math.min(shown + 1, found.length - 1));
            else if (event.key === "ArrowUp") setAt(Math.max(shown - 1, 0));
            else if (event.key === "Enter") take(found[shown], event.shiftKey);
            else if (event.key === "Escape") {
              setText("");
              event.currentTarget.blur();
            } else return;
            event.preventDefault();
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </div>
      {open && (
        <div className="find__list">
          <ul id={listId} role="listbox" aria-label={t("find.results")}>
            {found.map((camera, i) => (
              <li
                key={camera.id}
                id={`${listId}-${i}`}
                role="option"
                aria-selected={i === shown}
                onMouseDown={(event) => {
                  event.preventDefault();
                  take(camera, event.shiftKey);
                }}
                onMouseEnter={() => setAt(i)}
              >
                <b>{cameraNumber(camera.number)}</b>
                <span>
                  {camera.name}
                  {camera.street && <span className="dim">, {camera.street}</span>}
                </span>
                <CameraState camera={camera} />
              </li>
            ))}
          </ul>
          {found.length === 0 && (
            <p className="find__empty" role="status">
              {t(cameras.isPending ? "state.loading" : "find.none", { text })}
            </p>
          )}
          <p className="find__hint">{t("find.hint")}</p>
        </div>
      )}
    </div>
  );
}
