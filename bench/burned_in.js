// What a page shows, read off its pictures (bench/burned_in.py): `window.burnedIn`. Times are Unix ms, durations ms.
// It reads single cells of a picture, not the whole.
(BITS, ROWS) => {
  const CELL = 4;
  const canvas = new OffscreenCanvas(BITS * CELL, 2 * CELL);
  const paper = canvas.getContext('2d', {willReadFrequently: true});
  paper.imageSmoothingEnabled = false;
  let zero = null; // Unix ms at performance.now() 0, at the edge of a millisecond
  const unix = (ms) => {
    if (zero === null) {
      const was = Date.now();
      while (Date.now() === was);
      zero = Date.now() - performance.now();
    }
    return ms + zero;
  };
  const read = (video) => {
    if (!video.videoWidth) return null;
    paper.drawImage(video, 0, 0, video.videoWidth, 2 * video.videoHeight / ROWS, 0, 0, canvas.width, canvas.height);
    const {data} = paper.getImageData(0, 0, canvas.width, canvas.height);
    const lit = (column, row) => {
      const at = 4 * ((row * CELL + CELL / 2) * canvas.width + column * CELL + CELL / 2);
      return data[at] + data[at + 1] + data[at + 2] > 384;
    };
    let number = 0;
    for (let i = 0; i < BITS; i++) {
      if (lit(i, 0) === lit(i, 1)) return null;
      number = 2 * number + lit(i, 0);
    }
    return number;
  };
  const shown = (tile) => tile.querySelector('.tile__face--shown .tile__stage:not(.tile__stage--gone) video');
  // Listened for from the beginning: the application's own listeners let nothing through to later ones.
  const awaited = {};
  const act = (key) => new Promise((resolve) => { awaited[key] = resolve; });
  addEventListener('click', (event) => awaited.click?.(event.timeStamp), true);
  addEventListener('keydown', (event) => awaited[event.key]?.(event.timeStamp), true);

  // Every picture of a tile: its number (null: none was read), when it was called, when it is on the screen, when its
  // last packet had come, its RTP timestamp; and each second what the tile says of its delay, with the picture that then
  // stood there.
  const watch = (selector, seconds) => new Promise((resolve) => {
    const tile = document.querySelector(selector), video = shown(tile), pictures = [], badges = [];
    let going = true;
    const look = (now, facts) => {
      if (!going) return;
      video.requestVideoFrameCallback(look);
      pictures.push([read(video), unix(now), unix(facts.expectedDisplayTime), unix(facts.receiveTime), facts.rtpTimestamp]);
    };
    video.requestVideoFrameCallback(look);
    const asking = setInterval(() => {
      const found = /(\d+) ms/.exec(tile.querySelector('.tile__figures')?.textContent ?? '')?.[1];
      if (found !== undefined) badges.push([Number(found), pictures.length - 1]);
    }, 1000);
    const before = video.getVideoPlaybackQuality();
    setTimeout(() => {
      going = false;
      clearInterval(asking);
      const after = video.getVideoPlaybackQuality();
      resolve({pictures, badges, width: video.videoWidth,
               dropped: after.droppedVideoFrames - before.droppedVideoFrames});
    }, 1000 * seconds);
  });

  // After the next click: when each of so many tiles showed a picture that can be read, and when it called it live.
  const opening = async (count, seconds) => {
    performance.clearResourceTimings();
    performance.setResourceTimingBufferSize(1000);
    const clicked = await act('click');
    const pictures = {}, live = {}, widths = {}, readable = new WeakSet(), hooked = new WeakSet();
    await new Promise((resolve) => {
      const look = () => {
        for (const tile of document.querySelectorAll('.tile[data-camera]')) {
          const {camera, word} = tile.dataset, video = tile.querySelector('video');
          if (video && !hooked.has(video)) {
            hooked.add(video);
            const first = () => {
              if (read(video) === null) video.requestVideoFrameCallback(first);
              else readable.add(video);
            };
            video.requestVideoFrameCallback(first);
          }
          if (!(camera in pictures) && video && readable.has(video) && shown(tile) === video) {
            pictures[camera] = performance.now() - clicked;
            widths[camera] = video.videoWidth;
          }
          if (!(camera in live) && word === 'live') live[camera] = performance.now() - clicked;
        }
        const done = Object.keys(pictures).length >= count && Object.keys(live).length >= count;
        if (done || performance.now() - clicked > 1000 * seconds) resolve();
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
    const posts = performance.getEntriesByType('resource').filter((e) => /whep\/[0-9a-f-]{36}\?/.test(e.name));
    return {pictures, live, widths, posts: posts.map((e) => ({
      camera: e.name.match(/whep\/([0-9a-f-]{36})/)[1], queuedMs: e.requestStart - e.startTime,
      answeredMs: e.responseEnd - e.requestStart, sentAt: unix(e.requestStart)}))};
  };

  // After the next Enter: when the spot tile had this camera's name, and when a picture of that width under it.
  const spot = async (name, width, seconds) => {
    const pressed = await act('Enter');
    let named = null;
    return await new Promise((resolve) => {
      const look = () => {
        const tile = document.querySelector('.tile[data-spot="true"]');
        const caption = tile.querySelector('.tile__face--shown .tile__caption b')?.textContent;
        const passed = performance.now() - pressed;
        if (caption === name) {
          named ??= passed;
          const video = shown(tile);
          if (video && video.videoWidth === width && read(video) !== null) return resolve({named, picture: passed});
        }
        if (passed > 1000 * seconds) resolve({named, picture: null});
        else requestAnimationFrame(look);
      };
      look();
    });
  };
  window.burnedIn = {read, watch, opening, spot};
}
